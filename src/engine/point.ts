/** What an operator may write behind the `@`: which of a volume's backups it means. */
import { UsageError, VarveError } from "../errors.ts";
import { equalBytes, utf8 } from "../format/bytes.ts";
import { backupTimeMs } from "../format/backup_id.ts";
import { quote } from "../format/names.ts";
import { snapshotFromJson, type SnapshotJson } from "../format/snapshot_name.ts";

export interface PointChoices {
  /** `project/volume`, for messages. */
  thing: string;
  /** Backup ids, oldest first; at least one. */
  ids: readonly string[];
  /** The to-snapshots of `ids`, read only when needed. */
  snapshots: () => Promise<SnapshotJson[]>;
}

/**
 * The id that `point` means: `latest`, `~N` (N before the latest), an id, a snapshot's name (its newest
 * backup), the unique beginning of an id, or a time (the last backup at or before it). Throws `failed` where nothing or too much matches.
 */
export async function resolvePoint(point: string, choices: PointChoices): Promise<string> {
  const { ids, thing } = choices;
  if (point === "") throw new UsageError(`Cannot read "${thing}@": what follows the @ is empty`);
  if (point === "latest") return ids.at(-1)!;
  if (/^~\d+$/.test(point)) return before(choices, Number(point.slice(1)));
  if (ids.includes(point)) return point;
  const wanted = utf8(point);
  const names = await choices.snapshots();
  const bySnapshot = names.findLastIndex((name) =>
    name !== null && equalBytes(snapshotFromJson(name)!, wanted)
  );
  if (bySnapshot >= 0) return ids[bySnapshot]!;
  const byPrefix = ids.filter((id) => id.startsWith(point));
  if (byPrefix.length === 1) return byPrefix[0]!;
  const timeMs = parseTime(point);
  if (timeMs !== undefined) return atTime(choices, { point, timeMs });
  const why = byPrefix.length > 1
    ? `${byPrefix.length} backups begin so`
    : "no backup has that id, snapshot or time";
  throw new VarveError(
    "failed",
    `Cannot find ${quote(`${thing}@${point}`)}: ${why}; "varve list ${thing}" shows them`,
  );
}

function before({ ids, thing }: PointChoices, count: number): string {
  const id = ids[ids.length - 1 - count];
  if (id !== undefined) return id;
  throw new VarveError("failed", `Cannot find "${thing}@~${count}": there are ${ids.length} backups`);
}

function atTime({ ids, thing }: PointChoices, wanted: { point: string; timeMs: number }): string {
  const id = ids.findLast((id) => backupTimeMs(id)! <= wanted.timeMs);
  if (id !== undefined) return id;
  throw new VarveError("failed", `Cannot find "${thing}@${wanted.point}": no backup is that old`);
}

/** ISO dates and times; without a zone they are local, as an operator reads a clock. A bare date is its end. */
function parseTime(text: string): number | undefined {
  const m = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|[+-]\d{2}:?\d{2})?)?$/.exec(
    text,
  );
  if (m === null) return undefined;
  const ms = Date.parse(m[2] === undefined ? `${m[1]}T23:59:59.999` : `${m[1]}T${m[2]}${m[3] ?? ""}`);
  return Number.isNaN(ms) ? undefined : ms;
}
