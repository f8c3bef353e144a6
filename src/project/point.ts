/** What an operator may write behind the `@`: which of a volume's backups it means. */
import { UsageError, VarveError } from "../errors.ts";
import { equalBytes, utf8 } from "../util/bytes.ts";
import { backupTimeMs } from "../format/backup_id.ts";
import { quote } from "../format/names.ts";
import { snapshotFromJson, type SnapshotJson } from "../format/snapshot_name.ts";

export interface PointChoices {
  /** `project/volume`, for messages. */
  thing: string;
  /** Backup ids, the one that was made first first; at least one. */
  ids: readonly string[];
  /** Those of them whose dates ascend, too; without it all. */
  dated?: readonly string[] | undefined;
  /** Ids of backups that cannot be read: of them nothing but the id is known. */
  unreadable?: readonly string[] | undefined;
  /** The to-snapshots of `ids`, read only when needed. */
  snapshots: () => Promise<SnapshotJson[]>;
}

/** What a point means, and up to which date (milliseconds since 1970) a backup would be meant instead. */
export interface FoundPoint {
  id: string;
  untilMs: number;
}

/** A prefix says what a point is, where it might be something else: a snapshot may be called `latest`, or like a time. */
const PREFIX = /^(snap|id|time):(.*)$/s;

/**
 * The id that `point` means: `latest`, `~N` (N before the latest), an id, a snapshot's name (its newest
 * backup), the unique beginning of an id, or a time (the last backup at or before it); `snap:`, `id:` and `time:` before it
 * say which of these it is. Throws `not_found` where nothing or too much matches.
 */
export async function resolvePoint(point: string, choices: PointChoices): Promise<string> {
  return (await findPoint(point, choices)).id;
}

/** The same, and what else might have been meant. */
export async function findPoint(point: string, choices: PointChoices): Promise<FoundPoint> {
  const { thing } = choices;
  if (point === "") throw new UsageError(`Cannot read "${thing}@": what follows the @ is empty`);
  const [, kind, rest = point] = PREFIX.exec(point) ?? [];
  const id = await findId(point, { kind, rest, choices });
  if (id !== undefined) return { id, untilMs: Infinity };
  const timeMs = kind === undefined || kind === "time" ? parseTime(rest) : undefined;
  if (timeMs !== undefined) return { id: atTime(choices, { point, timeMs }), untilMs: timeMs };
  throw unclear(choices, { point, why: "no backup has that id, snapshot or time" });
}

async function findId(
  point: string,
  { kind, rest, choices }: { kind: string | undefined; rest: string; choices: PointChoices },
): Promise<string | undefined> {
  const { ids, unreadable = [] } = choices;
  if (kind === undefined) {
    if (point === "latest") return ids.at(-1)!;
    if (/^~\d+$/.test(point)) return before(choices, Number(point.slice(1)));
    if (ids.includes(point) || unreadable.includes(point)) return point;
  }
  const bySnapshot = kind === undefined || kind === "snap" ? await ofSnapshot(rest, choices) : undefined;
  if (bySnapshot !== undefined || (kind !== undefined && kind !== "id")) return bySnapshot;
  const byPrefix = [...ids, ...unreadable].filter((id) => id.startsWith(rest));
  if (byPrefix.length === 1) return byPrefix[0];
  const isTime = kind === undefined && parseTime(rest) !== undefined;
  if (byPrefix.length > 1 && !isTime) {
    throw unclear(choices, { point, why: `${byPrefix.length} backups begin so` });
  }
}

async function ofSnapshot(name: string, { ids, snapshots }: PointChoices): Promise<string | undefined> {
  const wanted = utf8(name);
  const at = (await snapshots()).findLastIndex((name) =>
    name !== null && equalBytes(snapshotFromJson(name)!, wanted)
  );
  return ids[at];
}

function unclear(
  { thing }: PointChoices,
  { point, why }: { point: string; why: string },
): VarveError {
  return new VarveError(
    "not_found",
    `Cannot find ${quote(`${thing}@${point}`)}: ${why}; "varve list ${thing}" shows them`,
  );
}

/** Whatever was made last is the latest; before it only those whose date is right are counted. */
function before({ ids, dated = ids, thing }: PointChoices, count: number): string {
  const counted = dated.includes(ids.at(-1)!) ? dated : [...dated, ids.at(-1)!];
  const id = counted[counted.length - 1 - count];
  if (id !== undefined) return id;
  const there = counted.length === 1 ? "is 1 backup" : `are ${counted.length} backups`;
  throw new VarveError("not_found", `Cannot find "${thing}@~${count}": there ${there}`);
}

function atTime(
  { ids, dated = ids, thing }: PointChoices,
  wanted: { point: string; timeMs: number },
): string {
  const id = dated.findLast((id) => backupTimeMs(id)! <= wanted.timeMs);
  if (id !== undefined) return id;
  throw new VarveError("not_found", `Cannot find "${thing}@${wanted.point}": no backup is that old`);
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
