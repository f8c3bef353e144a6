/** Which backup of a volume an operator means by `@POINT`. */
import { type Context, tellProblem } from "../context.ts";
import { DamageError, VarveError } from "../errors.ts";
import { backupTimeMs, isBackupId } from "../format/backup_id.ts";
import { manifestName } from "../format/layout.ts";
import type { ManifestInfo } from "../format/manifest.ts";
import { manifestOrDamage, reasonOf } from "./manifests.ts";
import { noBackups } from "./not_found.ts";
import { findPoint, type FoundPoint } from "./point.ts";
import { orderPoints } from "./point_order.ts";
import type { Project } from "./project.ts";
import { readPoints } from "./read_points.ts";
import { findMissed, type PresentPoint } from "./seen_points.ts";

/**
 * The id of the backup that `point` means, among those that can be read. One that cannot be read and might be meant is told
 * of as a problem. Throws `not_found` where there is none, or more than one; `DamageError` where it may be one that cannot be read.
 */
export async function findBackup(
  project: Project,
  { volume, point = "latest" }: { volume: string; point: string | undefined },
  context: Context,
): Promise<string> {
  const { id, newer: { unreadable } } = await find(project, { volume, point }, context);
  for (const error of unreadable) tellProblem(error, context);
  return id;
}

/**
 * The same for a point that is to be deleted: where a newer one might be meant that cannot be read, or that this host has seen
 * and that is gone, it throws `damage`.
 */
export async function findBackupForCertain(
  project: Project,
  { volume, point }: { volume: string; point: string },
  context: Context,
): Promise<string> {
  const { id, newer: { unreadable, missed, doubts } } = await find(project, { volume, point }, context);
  const gone = missed.map((id) => `this host has seen ${id}, which is gone`);
  const [why] = [...unreadable.map(({ message }) => message), ...gone, ...doubts];
  if (why === undefined) return id;
  throw new VarveError(
    "damage",
    `Cannot tell which point "${project.name}/${volume}@${point}" is: ${why}; name the point by its whole id`,
  );
}

interface FoundBackup {
  id: string;
  /** Those that might be meant, too: why they cannot be read, the ids of those that are gone, and why more may be. */
  newer: { unreadable: DamageError[]; missed: string[]; doubts: string[] };
}

async function find(
  project: Project,
  { volume, point }: { volume: string; point: string },
  context: Context,
): Promise<FoundBackup> {
  const whole = point.replace(/^id:/, "");
  if (isBackupId(whole) && await project.has(manifestName(volume, whole), context)) {
    return { id: whole, newer: { unreadable: [], missed: [], doubts: [] } };
  }
  const known = await readVolume(project, volume, context);
  const { infos, damaged } = known;
  const gone = await findMissed(project, { volume, points: pointsOf(volume, known) }, context);
  if (infos.size + damaged.size === 0) throw await noBackups(project, volume, context);
  const { id, untilMs } = await chooseReadable(project, { volume, point, known }, context);
  const isNewer = (other: string) => other > id && backupTimeMs(other)! <= untilMs;
  const unreadable = [...damaged].filter(([id]) => isNewer(id)).map(([, error]) => error);
  const missed = gone.points.map(({ backup }) => backup).filter(isNewer);
  return { id, newer: { unreadable, missed, doubts: gone.notes.map(({ state }) => state) } };
}

/** What there is of a volume: the backups that can be read, by their ids, and why others cannot. */
interface KnownPoints {
  infos: Map<string, ManifestInfo>;
  damaged: Map<string, DamageError>;
}

function pointsOf(volume: string, { infos, damaged }: KnownPoints): PresentPoint[] {
  return [
    ...[...infos.values()].map(({ backup, passed_over }) => {
      return { volume, backup, isReadable: true, passedOver: passed_over };
    }),
    ...[...damaged.keys()].map((backup) => ({ volume, backup, isReadable: false })),
  ];
}

/** Infos are only the beginnings of manifests, and may be remembered: what is chosen is read as a whole, or another one chosen. */
async function chooseReadable(
  project: Project,
  { volume, point, known }: { volume: string; point: string; known: KnownPoints },
  context: Context,
): Promise<FoundPoint> {
  for (;;) {
    const found = await choose(point, { thing: `${project.name}/${volume}`, known }, context);
    if (known.damaged.has(found.id)) return found;
    const manifest = await manifestOrDamage(project, { volume, backup: found.id }, context);
    if (manifest !== undefined && !(manifest instanceof DamageError)) return found;
    known.infos.delete(found.id);
    if (manifest !== undefined) known.damaged.set(found.id, manifest);
  }
}

async function readVolume(project: Project, volume: string, context: Context): Promise<KnownPoints> {
  const known: KnownPoints = { infos: new Map(), damaged: new Map() };
  for await (const { backup, info } of readPoints(project, volume, context)) {
    if (info instanceof DamageError) known.damaged.set(backup, info);
    else known.infos.set(backup, info);
  }
  return known;
}

async function choose(
  point: string,
  { thing, known: { infos, damaged } }: { thing: string; known: KnownPoints },
  { clock }: Context,
): Promise<FoundPoint> {
  const cause = [...damaged.values()].at(-1);
  if (infos.size === 0) throw reasonOf(cause!);
  const { made, dated } = orderPoints([...infos.values()]);
  const snapshots = () => Promise.resolve(made.map((id) => infos.get(id)!.to_snapshot));
  const choices = { thing, ids: made, dated, unreadable: [...damaged.keys()], snapshots, nowMs: clock.now() };
  try {
    return await findPoint(point, choices);
  } catch (error) {
    // It may be one that cannot be read; of an id nothing but the name has to be known.
    const isCertain = cause === undefined || isBackupId(point);
    if (isCertain || !(error instanceof VarveError) || error.code !== "not_found") throw error;
    throw new DamageError(
      cause.key,
      `${error.message}; ${damaged.size} of its restore points cannot be read`,
      { cause },
    );
  }
}
