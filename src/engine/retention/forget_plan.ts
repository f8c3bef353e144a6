/** What a forget drops and what stays, and why: planned before anything is done. Pure. */
import type { DamageError } from "../../errors.ts";
import { applyPolicy, maxDropped, type RetentionPolicy, type Rule } from "./policy.ts";

/**
 * A point that is so little later than the store's clock is not in the future: S3 tells whole seconds, a second backup
 * within one takes the next millisecond, and a forget asks for the time before it lists.
 */
const CLOCK_SLACK_MS = 60_000;
/** Points that the store has had for this long are also counted apart, so that a flood of new ones cannot hide them. */
const SETTLED_MS = 24 * 3600_000;

export interface ForgetPolicy {
  policy: RetentionPolicy;
  timeZone: string;
  /** The share of a volume's points that may go at once, 1 to 100. */
  maxDropPercent: number;
  /** Whatever the share is. */
  force: boolean;
}

/** A point and what becomes of it: the JSON of `varve forget` is an array of these, oldest first in each volume. */
export interface ForgetRow {
  project: string;
  volume: string;
  backup: string;
  time: string;
  /** By at least one rule; all others are dropped. */
  kept: boolean;
  rules: (Rule | "unreadable")[];
  /** Why one that is to be dropped stays after all, or what is wrong with one that cannot be read. */
  problem: string | null;
}

export interface JudgedPoint {
  volume: string;
  backup: string;
  timeMs: number;
  /** When the store got it. */
  modifiedMs: number;
  held: boolean;
  tags: readonly string[];
  damage: DamageError | undefined;
}

interface PlanOptions extends ForgetPolicy {
  project: string;
  /** The store's clock. */
  nowMs: number;
}

/** A row for each point; each volume is judged by itself. Throws `UsageError` for an unknown time zone. */
export function planForget(points: readonly JudgedPoint[], options: PlanOptions): ForgetRow[] {
  const nowMs = options.nowMs + CLOCK_SLACK_MS;
  const volumes = Map.groupBy(points, ({ volume }) => volume);
  return [...volumes.values()].flatMap((points) => judgeVolume(points, { ...options, nowMs }));
}

function judgeVolume(points: readonly JudgedPoint[], options: PlanOptions): ForgetRow[] {
  const readable = points.filter(({ damage }) => damage === undefined);
  const rules = applyPolicy(readable.map((point) => ({ ...point, id: point.backup })), options);
  const excess = options.force ? undefined : excessOf(readable, { ...options, rules });
  return points.map(({ volume, backup, timeMs, damage }) => {
    const why = damage === undefined ? rules.get(backup)! : ["unreadable" as const];
    const kept = why.length > 0;
    const problem = damage?.message ?? (kept ? undefined : excess) ?? null;
    const time = new Date(timeMs).toISOString();
    return { project: options.project, volume, backup, time, kept, rules: why, problem };
  });
}

/** Rules that keep any number of points: these would make the share of those that go look small, and are left out. */
const UNLIMITED: ReadonlyMap<Rule, string> = new Map<Rule, string>([
  ["held", "held"],
  ["in the future", "in the future"],
  ["tag", "tagged"],
]);

/** Why so many may not go at once, if so. */
function excessOf(
  points: readonly JudgedPoint[],
  { rules, nowMs, maxDropPercent }: PlanOptions & { rules: ReadonlyMap<string, readonly Rule[]> },
): string | undefined {
  const rulesOf = ({ backup }: JudgedPoint) => rules.get(backup)!;
  const unlimitedOf = (point: JudgedPoint) => rulesOf(point).find((rule) => UNLIMITED.has(rule));
  const all = points.filter((point) => unlimitedOf(point) === undefined);
  const uncounted = Map.groupBy(points.filter((point) => unlimitedOf(point) !== undefined), unlimitedOf);
  const others = [...uncounted].map(([rule, { length }]) => `${length} ${UNLIMITED.get(rule!)}`).join(", ");
  const settled = all.filter(({ modifiedMs }) => nowMs - modifiedMs >= SETTLED_MS);
  for (
    const [which, group] of [["restore points", all], ["restore points older than a day", settled]] as const
  ) {
    const count = group.filter((point) => rulesOf(point).length === 0).length;
    if (count <= maxDropped(group.length, maxDropPercent)) continue;
    const left = others === "" ? "" : ` (not counted: ${others})`;
    return `${count} of ${group.length} ${which}${left} would be forgotten, more than --max-drop ${maxDropPercent}%; ` +
      `use --force to forget them`;
  }
}
