/** Which backup a difference stream continues. */
import { DamageError, VarveError } from "../../errors.ts";
import { equalBytes } from "../../format/bytes.ts";
import { snapshotFromJson, type SnapshotJson, snapshotText } from "../../format/snapshot_name.ts";
import { infoOrDamage, listBackupIds, manifestOrDamage, type OpenManifest } from "../catalog.ts";
import type { Context } from "../context.ts";
import type { Project } from "../project.ts";

/** How many snapshot names an error lists. */
const MAX_NAMES = 5;

export interface BaseSearch {
  volume: string;
  fromSnapshot: Uint8Array;
  /** Manifests that are in memory, looked at first: newest last. */
  atHand: readonly OpenManifest[];
  /** Ids of backups that are older than their dates: looked at last. */
  passedOver: readonly string[];
}

/**
 * The newest backup whose to-snapshot has that name. What cannot be read is said, and others are looked at. Throws `failed`
 * where there is none, with the names that there are; `DamageError` where it may be one that cannot be read.
 */
export async function findBase(
  project: Project,
  search: BaseSearch,
  context: Context,
): Promise<OpenManifest> {
  const { volume, fromSnapshot } = search;
  const isIt = (name: SnapshotJson) => name !== null && equalBytes(snapshotFromJson(name)!, fromSnapshot);
  const here = search.atHand.findLast(({ info }) => isIt(info.to_snapshot));
  if (here !== undefined) return here;
  const seen = new Set<string>();
  const damaged: DamageError[] = [];
  for (const backup of newestFirst(await listBackupIds(project, volume, context), search.passedOver)) {
    const info = await infoOrDamage(project, { volume, backup }, context);
    if (info instanceof DamageError) {
      damaged.push(info);
      context.log.warn({ volume, backup }, `${info.message}; it is not looked at as a base`);
    } else if (info !== undefined && isIt(info.to_snapshot)) {
      const manifest = await manifestOrDamage(project, { volume, backup }, context);
      if (manifest instanceof DamageError) throw withAdvice(`${project.name}/${volume}`, manifest);
      if (manifest !== undefined) return manifest;
    } else if (info?.to_snapshot != null) seen.add(snapshotText(snapshotFromJson(info.to_snapshot)!));
  }
  const error = noBase(`${project.name}/${volume}`, snapshotText(fromSnapshot), [...seen]);
  const [cause] = damaged;
  if (cause === undefined) throw error;
  throw new DamageError(cause.key, `${error.message}; ${damaged.length} that cannot be read may be it`, {
    cause,
  });
}

function newestFirst(ids: readonly string[], passedOver: readonly string[]): string[] {
  const last = new Set(passedOver);
  return [...ids.filter((id) => last.has(id)), ...ids.filter((id) => !last.has(id))].reverse();
}

function withAdvice(thing: string, cause: DamageError): DamageError {
  return new DamageError(
    cause.key,
    `Cannot back up "${thing}": the backup that the stream continues cannot be read; back up in full`,
    { cause },
  );
}

function noBase(thing: string, wanted: string, there: string[]): VarveError {
  const list = there.slice(0, MAX_NAMES).map((name) => `"${name}"`).join(", ");
  const rest = there.length > MAX_NAMES ? ` and ${there.length - MAX_NAMES} older` : "";
  const has = there.length === 0
    ? "it has no backup of any snapshot. Export without --from-snap"
    : `it has backups of ${list}${rest}. Export from one of these, or without --from-snap`;
  return new VarveError(
    "failed",
    `Cannot back up "${thing}": the stream begins at snapshot "${wanted}", of which there is no backup; ${has}`,
  );
}
