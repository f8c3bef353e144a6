/** Which backup a difference stream continues. */
import { DamageError, UsageError, VarveError } from "../../errors.ts";
import { equalBytes, utf8 } from "../../util/bytes.ts";
import { snapshotFromJson, snapshotText } from "../../format/snapshot_name.ts";
import { idsDiffer, idsMatch, type SourceIds } from "../../format/source_ids.ts";
import type { EarlierPoint, VolumeDiff } from "../../sources/source.ts";
import { findBackup } from "../../project/find_backup.ts";
import { manifestOrDamage, type OpenManifest } from "../../project/manifests.ts";
import type { Context } from "../../context.ts";
import type { Project } from "../../project/project.ts";
import { type EarlierPoints, isOfSnapshot, type ReadPoints } from "../../volume/earlier_points.ts";

/** How many snapshot names or points an error lists. */
const MAX_NAMES = 5;

interface BaseSearch {
  volume: string;
  diff: Pick<VolumeDiff, "fromSnapshot" | "ids">;
  /** What the same source held before this difference, newest last. */
  prepared: readonly OpenManifest[];
  /** The volume's newest manifest, which is in memory. */
  latest: OpenManifest | undefined;
  earlier: EarlierPoints;
  /** The point that the operator has named. */
  named: string | undefined;
}

/** A search with what it goes by. */
interface Increment extends BaseSearch {
  project: Project;
  /** `project/volume`, for messages. */
  thing: string;
  fromSnapshot: Uint8Array;
  ids: SourceIds;
}

/**
 * The backup that the difference continues; `undefined` where it is a full one. Its to-snapshot has that name, and no id
 * that is known of both is another. Of several, ids say which, or the operator; without either they must hold the same.
 * Throws `failed` where there is none, with the names that there are; `conflict` where it is another's or not clear which;
 * `DamageError` where it may be one that cannot be read.
 */
export async function findBase(
  project: Project,
  search: BaseSearch,
  context: Context,
): Promise<OpenManifest | undefined> {
  const { fromSnapshot, ids = {} } = search.diff;
  const thing = `${project.name}/${search.volume}`;
  if (fromSnapshot === undefined) {
    if (search.named === undefined) return undefined;
    throw new UsageError(`Cannot back up "${thing}" on a base: the stream is a full one; remove --base`);
  }
  const before = search.prepared.findLast(({ info }) => isOfSnapshot(info, fromSnapshot));
  if (before !== undefined) return before;
  const increment = { ...search, project, thing, fromSnapshot, ids };
  const known = await search.earlier.read(context);
  const candidates = await ofThatName(increment, known, context);
  const fitting = candidates.filter((point) => !isOfAnother(point, ids));
  if (fitting.length === 0 && candidates.length > 0) throw ofAnother(increment, candidates[0]!);
  const base = await choose(increment, fitting, context);
  sayPassedBy(increment, { known, chosen: base?.info.backup }, context);
  if (base === undefined) throw noBase(increment, known);
  return base;
}

/** The points that the difference may begin at by their snapshot's name, newest first. */
async function ofThatName(
  { project, thing, volume, named, fromSnapshot }: Increment,
  { points, damaged }: ReadPoints,
  context: Context,
): Promise<EarlierPoint[]> {
  const all = points.filter((point) => isOfSnapshot(point, fromSnapshot));
  // The snapshot's name says no more than the stream does.
  const isName = named !== undefined && equalBytes(utf8(named.replace(/^snap:/, "")), fromSnapshot);
  if (named === undefined || isName) return all;
  const backup = await findBackup(project, { volume, point: named }, context);
  const damage = damaged.get(backup);
  if (damage !== undefined) throw withAdvice(thing, damage);
  const chosen = all.filter((point) => point.backup === backup);
  if (chosen.length > 0) return chosen;
  throw conflict(
    thing,
    `the stream starts at snapshot "${
      snapshotText(fromSnapshot)
    }", but "${thing}@${backup}" was made from another one; ` +
      `choose another base, or export without --from-snap`,
  );
}

function isOfAnother(point: EarlierPoint, ids: SourceIds): boolean {
  return idsDiffer(point.source_id, ids.source_id) ||
    idsDiffer(point.source_snapshot_id, ids.from_snapshot_id);
}

/** Of points that all fit; `undefined` where there is none, or all were forgotten meanwhile. */
async function choose(
  increment: Increment,
  fitting: readonly EarlierPoint[],
  context: Context,
): Promise<OpenManifest | undefined> {
  const { source_id, from_snapshot_id } = increment.ids;
  const certain = fitting.filter((point) =>
    idsMatch(point.source_snapshot_id, from_snapshot_id) &&
    (source_id === undefined || point.source_id !== undefined)
  );
  let base: OpenManifest | undefined;
  for (const { backup } of certain.length > 0 ? certain : fitting) {
    const manifest = await open(increment, backup, context);
    if (manifest === undefined) continue;
    if (certain.length > 0) return manifest;
    if (base !== undefined && !holdsTheSame(base, manifest)) throw ambiguous(increment, fitting);
    base ??= manifest;
  }
  return base;
}

async function open(
  { project, thing, volume, latest }: Increment,
  backup: string,
  context: Context,
): Promise<OpenManifest | undefined> {
  if (latest?.info.backup === backup) return latest;
  const manifest = await manifestOrDamage(project, { volume, backup }, context);
  if (manifest instanceof DamageError) throw withAdvice(thing, manifest);
  return manifest;
}

function holdsTheSame(a: OpenManifest, b: OpenManifest): boolean {
  return a.info.size_bytes === b.info.size_bytes && equalBytes(a.pages.encode(), b.pages.encode());
}

/** Those newer than the volume's newest that can be read were said when the backup began. */
function sayPassedBy(
  { earlier, latest, volume }: Increment,
  { known, chosen }: { known: ReadPoints; chosen: string | undefined },
  { log }: Context,
): void {
  for (const [backup, { message }] of known.damaged) {
    if (chosen !== undefined && earlier.isOlder(backup, chosen)) continue;
    if (latest !== undefined && earlier.isOlder(latest.info.backup, backup)) continue;
    log.warn({ volume, backup }, `${message}; it is not considered as a base`);
  }
}

function withAdvice(thing: string, cause: DamageError): DamageError {
  return new DamageError(
    cause.key,
    `Cannot back up "${thing}": its base cannot be read; back up in full`,
    { cause },
  );
}

function conflict(thing: string, why: string): VarveError {
  return new VarveError("conflict", `Cannot back up "${thing}": ${why}`);
}

function ofAnother({ thing, fromSnapshot, ids }: Increment, point: EarlierPoint): VarveError {
  const [what, here, there] = idsDiffer(point.source_id, ids.source_id)
    ? ["source", ids.source_id, point.source_id]
    : ["snapshot", ids.from_snapshot_id, point.source_snapshot_id];
  return conflict(
    thing,
    `the stream starts at snapshot "${
      snapshotText(fromSnapshot)
    }", but the restore point of that name, ${point.backup}, was made from ` +
      `another ${what} (id "${there}", not "${here}"); export without --from-snap for a full backup`,
  );
}

function ambiguous({ thing, fromSnapshot }: Increment, fitting: readonly EarlierPoint[]): VarveError {
  const points = fitting.slice(0, MAX_NAMES).map(({ backup }) => backup).join(", ");
  const rest = fitting.length > MAX_NAMES ? ` and ${fitting.length - MAX_NAMES} older` : "";
  return conflict(
    thing,
    `the stream starts at snapshot "${
      snapshotText(fromSnapshot)
    }", but there are different restore points of that name: ${points}${rest}; ` +
      `choose one of these ids with --base, or export without --from-snap for a full backup`,
  );
}

function noBase({ thing, fromSnapshot }: Increment, { points, damaged }: ReadPoints): VarveError {
  const there = new Set(
    points.flatMap(({ to_snapshot }) =>
      to_snapshot === null ? [] : [snapshotText(snapshotFromJson(to_snapshot)!)]
    ),
  );
  const list = [...there].slice(0, MAX_NAMES).map((name) => `"${name}"`).join(", ");
  const rest = there.size > MAX_NAMES ? ` and ${there.size - MAX_NAMES} older` : "";
  const has = there.size === 0
    ? "no snapshot has been; export without --from-snap"
    : `these have been: ${list}${rest}; export from one of them, or without --from-snap`;
  const message = `Cannot back up "${thing}": the stream starts at snapshot "${
    snapshotText(fromSnapshot)
  }", which has not been backed up; ${has}`;
  const [cause] = damaged.values();
  if (cause === undefined) return new VarveError("failed", message);
  return new DamageError(
    cause.key,
    `${message}; unreadable restore points, which may include it: ${damaged.size}`,
    { cause },
  );
}
