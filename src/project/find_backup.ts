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
  if (isBackupId(point) && await project.has(manifestName(volume, point), context)) return point;
  const known = await readVolume(project, volume, context);
  const { infos, damaged } = known;
  const isNone = infos.size + damaged.size === 0;
  if (point === "latest" || isNone) {
    await findMissed(project, { volume, points: pointsOf(volume, known) }, context);
  }
  if (isNone) throw await noBackups(project, volume, context);
  const found = await chooseReadable(project, { volume, point, known }, context);
  for (const [id, error] of damaged) {
    if (id > found.id && backupTimeMs(id)! <= found.untilMs) tellProblem(error, context);
  }
  return found.id;
}

/** What there is of a volume: the backups that can be read, by their ids, and why others cannot. */
interface KnownPoints {
  infos: Map<string, ManifestInfo>;
  damaged: Map<string, DamageError>;
}

function pointsOf(volume: string, { infos, damaged }: KnownPoints): PresentPoint[] {
  const listed = (isReadable: boolean) => (backup: string) => ({ volume, backup, isReadable });
  return [...[...infos.keys()].map(listed(true)), ...[...damaged.keys()].map(listed(false))];
}

/** Infos are only the beginnings of manifests, and may be remembered: what is chosen is read as a whole, or another one chosen. */
async function chooseReadable(
  project: Project,
  { volume, point, known }: { volume: string; point: string; known: KnownPoints },
  context: Context,
): Promise<FoundPoint> {
  for (;;) {
    const found = await choose(point, `${project.name}/${volume}`, known);
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

async function choose(point: string, thing: string, { infos, damaged }: KnownPoints): Promise<FoundPoint> {
  const cause = [...damaged.values()].at(-1);
  if (infos.size === 0) throw reasonOf(cause!);
  const { made, dated } = orderPoints([...infos.values()]);
  const snapshots = () => Promise.resolve(made.map((id) => infos.get(id)!.to_snapshot));
  const choices = { thing, ids: made, dated, unreadable: [...damaged.keys()], snapshots };
  try {
    return await findPoint(point, choices);
  } catch (error) {
    // It may be one that cannot be read; of an id nothing but the name has to be known.
    const isCertain = cause === undefined || isBackupId(point);
    if (
      isCertain || !(error instanceof VarveError) || (error.code !== "not_found" && error.code !== "failed")
    ) throw error;
    throw new DamageError(cause.key, `${error.message}; ${damaged.size} cannot be read`, { cause });
  }
}
