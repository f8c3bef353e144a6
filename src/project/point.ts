/** What an operator may write behind the `@`: which of a volume's backups it means. */
import { UsageError, VarveError } from "../errors.ts";
import { equalBytes, utf8 } from "../util/bytes.ts";
import { backupTimeMs } from "../format/backup_id.ts";
import { quote } from "../format/names.ts";
import { snapshotFromJson, type SnapshotJson, snapshotText } from "../format/snapshot_name.ts";
import { parseTime } from "../util/time.ts";

interface PointChoices {
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
  /** Milliseconds since 1970: what `yesterday` and `2h ago` count from. */
  nowMs: number;
}

/** What a point means, and up to which date (milliseconds since 1970) a backup would be meant instead. */
export interface FoundPoint {
  id: string;
  untilMs: number;
}

/** A prefix says what a point is, where it might be something else: a snapshot may be called `latest`, or like a time. */
const PREFIX = /^(snap|id|time):(.*)$/s;
/** The random end of an id, or the beginning of that. */
const SHORT_ID = /^[0-9a-f]{4,8}$/;
const RANDOM_DIGITS = 8;

const TIME_FORMS = 'a time is written "2026-11-28", "2026-11-28 16:30", "yesterday" or "2h ago"';

/**
 * The id that `point` means: `latest`, `~N` (N before the latest), an id, a snapshot's name (its newest
 * backup), the unique beginning of an id or of its random end, or a time (the last backup at or before it); `snap:`, `id:` and
 * `time:` before it say which of these it is. Throws `not_found` where nothing or too much matches.
 */
export async function resolvePoint(point: string, choices: PointChoices): Promise<string> {
  return (await findPoint(point, choices)).id;
}

/** The same, and what else might have been meant. */
export async function findPoint(point: string, choices: PointChoices): Promise<FoundPoint> {
  const { thing } = choices;
  if (point === "") throw new UsageError(`Cannot read "${thing}@": the part after @ is empty`);
  const [, prefix, rest = point] = PREFIX.exec(point) ?? [];
  const kind = prefix as Kind | undefined;
  const id = await findId(point, { kind, rest, choices });
  if (id !== undefined) return { id, untilMs: Infinity };
  const timeMs = kind === undefined || kind === "time" ? parseTime(rest, choices.nowMs) : undefined;
  if (timeMs === undefined) throw unclear(choices, { point, why: MISSING[kind ?? "any"] });
  if (Number.isNaN(timeMs)) throw unclear(choices, { point, why: "there is no such date" });
  return { id: atTime(choices, { point, timeMs }), untilMs: timeMs };
}

const MISSING = {
  any: `no restore point has that id, snapshot or time; ${TIME_FORMS}`,
  snap: "no restore point has that snapshot",
  id: "no restore point has that id",
  time: TIME_FORMS,
};

type Kind = "snap" | "id" | "time";

async function findId(
  point: string,
  { kind, rest, choices }: { kind: Kind | undefined; rest: string; choices: PointChoices },
): Promise<string | undefined> {
  const { ids, unreadable = [] } = choices;
  if (kind === undefined) {
    if (point === "latest") return ids.at(-1)!;
    if (/^~\d+$/.test(point)) return before(choices, Number(point.slice(1)));
    if (ids.includes(point) || unreadable.includes(point)) return point;
  }
  const bySnapshot = kind === undefined || kind === "snap"
    ? await ofSnapshot(rest, { kind, choices })
    : undefined;
  if (bySnapshot !== undefined || (kind !== undefined && kind !== "id")) return bySnapshot;
  const isShort = SHORT_ID.test(rest);
  const matches = [...ids, ...unreadable].filter((id) =>
    id.startsWith(rest) || (isShort && id.slice(-RANDOM_DIGITS).startsWith(rest))
  );
  if (matches.length === 1) return matches[0];
  const isTime = kind === undefined && parseTime(rest, choices.nowMs) !== undefined;
  if (matches.length > 1 && !isTime) {
    throw unclear(choices, { point, why: `${matches.length} restore points match` });
  }
}

/** By its bytes; after `snap:` also as `list` shows a name that is not text, with escapes. */
async function ofSnapshot(
  name: string,
  { kind, choices: { ids, snapshots } }: { kind: Kind | undefined; choices: PointChoices },
): Promise<string | undefined> {
  const wanted = utf8(name);
  const names = (await snapshots()).map(snapshotFromJson);
  const at = names.findLastIndex((name) => name !== undefined && equalBytes(name, wanted));
  if (at >= 0 || kind === undefined) return ids[at];
  return ids[names.findLastIndex((bytes) => bytes !== undefined && snapshotText(bytes) === name)];
}

function unclear(
  { thing }: PointChoices,
  { point, why }: { point: string; why: string },
): VarveError {
  return new VarveError(
    "not_found",
    `Cannot find ${quote(`${thing}@${point}`)}: ${why}; see "varve list ${thing}"`,
  );
}

/** Whatever was made last is the latest; before it only those whose date is right are counted. */
function before({ ids, dated = ids, thing }: PointChoices, count: number): string {
  const counted = dated.includes(ids.at(-1)!) ? dated : [...dated, ids.at(-1)!];
  const id = counted[counted.length - 1 - count];
  if (id !== undefined) return id;
  const there = counted.length === 1
    ? "is only 1 restore point"
    : `are only ${counted.length} restore points`;
  throw new VarveError("not_found", `Cannot find "${thing}@~${count}": there ${there}`);
}

function atTime(
  { ids, dated = ids, thing }: PointChoices,
  wanted: { point: string; timeMs: number },
): string {
  const id = dated.findLast((id) => backupTimeMs(id)! <= wanted.timeMs);
  if (id !== undefined) return id;
  throw new VarveError("not_found", `Cannot find "${thing}@${wanted.point}": no restore point is that old`);
}
