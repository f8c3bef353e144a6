/** Which backup a difference stream continues. */
import { VarveError } from "../../errors.ts";
import { equalBytes } from "../../format/bytes.ts";
import { snapshotFromJson, type SnapshotJson, snapshotText } from "../../format/snapshot_name.ts";
import { listBackupIds, type OpenManifest, readInfo, readManifest } from "../catalog.ts";
import type { Context } from "../context.ts";
import type { Project } from "../project.ts";

/** How many snapshot names an error lists. */
const MAX_NAMES = 5;

export interface BaseSearch {
  volume: string;
  fromSnapshot: Uint8Array;
  /** Manifests that are in memory, looked at first: newest last. */
  atHand: readonly OpenManifest[];
}

/** The newest backup whose to-snapshot has that name. Throws `failed`, with the names that there are. */
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
  for (const backup of (await listBackupIds(project, volume, context)).reverse()) {
    const { to_snapshot } = await readInfo(project, { volume, backup }, context);
    if (isIt(to_snapshot)) return await readManifest(project, { volume, backup }, context);
    if (to_snapshot !== null) seen.add(snapshotText(snapshotFromJson(to_snapshot)!));
  }
  throw noBase(`${project.name}/${volume}`, snapshotText(fromSnapshot), [...seen]);
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
