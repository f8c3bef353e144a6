/**
 * Retention: which points of a volume stay, and by which rules. Pure. docs/operating.md, "Retention", tells it to
 * operators. A point stays when at least one rule keeps it.
 */
import { UsageError } from "../../errors.ts";
import { quote } from "../../format/names.ts";

export const COUNT_RULES = ["last", "hourly", "daily", "weekly", "monthly", "yearly"] as const;
export type CountRule = (typeof COUNT_RULES)[number];
/** Why a point is kept. */
export type Rule = CountRule | "within" | "tag" | "held" | "in the future";

export interface RetentionPolicy {
  /** `last`: so many points. The others: of so many hours, days … that have points, the newest of each. 1 or more. */
  counts: { [rule in CountRule]?: number | undefined };
  /** All points that are at most so much older than the newest. */
  withinMs?: number | undefined;
  /** Points with one of these tags. */
  tags: readonly string[];
}

export interface RetentionPoint {
  id: string;
  /** Since 1970. */
  timeMs: number;
  held: boolean;
  tags: readonly string[];
}

export interface RetentionOptions {
  policy: RetentionPolicy;
  /** The store's clock: a later point is in the future. */
  nowMs: number;
  /** Whose hours, days and weeks: an IANA name, `UTC` or an offset like `+02:00`. */
  timeZone: string;
}

const HOUR_MS = 3600_000;
const DAY_MS = 24 * HOUR_MS;
/** 1970-01-01 was a Thursday, ISO 8601 weeks begin on Mondays. */
const DAYS_INTO_WEEK = 3;

interface PlacedPoint extends RetentionPoint {
  /** What a clock on the wall showed, as if that were UTC. */
  localMs: number;
}

/** Points with the same value are in the same hour, day …, of which the newest counts. */
const BUCKETS: Record<CountRule, (point: PlacedPoint) => string | number> = {
  last: ({ id }) => id,
  // With the offset: an hour that the end of summer time repeats is two hours.
  hourly: ({ timeMs, localMs }) => `${Math.floor(localMs / HOUR_MS)} ${localMs - timeMs}`,
  daily: ({ localMs }) => Math.floor(localMs / DAY_MS),
  weekly: ({ localMs }) => Math.floor((Math.floor(localMs / DAY_MS) + DAYS_INTO_WEEK) / 7),
  monthly: ({ localMs }) => new Date(localMs).toISOString().slice(0, 7),
  yearly: ({ localMs }) => new Date(localMs).getUTCFullYear(),
};

/** Throws `UsageError` unless the policy says how many points stay: tags alone could drop all others. */
export function assertPolicy({ counts, withinMs }: RetentionPolicy): void {
  if (withinMs !== undefined || COUNT_RULES.some((rule) => counts[rule] !== undefined)) return;
  const names = COUNT_RULES.map((rule) => `--keep-${rule}`).join(", ");
  throw new UsageError(
    `Cannot forget: no rule says which restore points to keep; give one or more of ${names}, --keep-within`,
  );
}

/**
 * The rules that keep each point, by its id; a point with none may go. Points in the future are kept and change nothing
 * for the others; held ones are kept and count like all others. Throws `UsageError` for an unknown time zone.
 */
export function applyPolicy(
  points: readonly RetentionPoint[],
  { policy, nowMs, timeZone }: RetentionOptions,
): Map<string, Rule[]> {
  const rules = new Map(points.map(({ id }): [string, Rule[]] => [id, []]));
  const keep = ({ id }: RetentionPoint, rule: Rule) => rules.get(id)!.push(rule);
  for (const point of points) if (point.held) keep(point, "held");
  for (const point of points) if (point.timeMs > nowMs) keep(point, "in the future");
  const past = place(points.filter(({ timeMs }) => timeMs <= nowMs), timeZone);
  for (const rule of COUNT_RULES) {
    for (const point of newestOfEach(past, rule, policy.counts[rule] ?? 0)) keep(point, rule);
  }
  const oldestMs = policy.withinMs === undefined ? Infinity : (past[0]?.timeMs ?? 0) - policy.withinMs;
  for (const point of past) if (point.timeMs >= oldestMs) keep(point, "within");
  for (const point of past) if (point.tags.some((tag) => policy.tags.includes(tag))) keep(point, "tag");
  return rules;
}

/** How many of `count` points may go at once: the share, rounded down, but one always. */
export function maxDropped(count: number, percent: number): number {
  return Math.max(1, Math.floor(count * percent / 100));
}

/** Newest first, with their local times. */
function place(points: readonly RetentionPoint[], timeZone: string): PlacedPoint[] {
  const localMs = localClock(timeZone);
  return points.map((point) => ({ ...point, localMs: localMs(point.timeMs) }))
    .sort((a, b) => b.timeMs - a.timeMs || (a.id < b.id ? 1 : -1));
}

function* newestOfEach(newestFirst: PlacedPoint[], rule: CountRule, count: number): Generator<PlacedPoint> {
  const seen = new Set<string | number>();
  for (const point of newestFirst) {
    const bucket = BUCKETS[rule](point);
    if (seen.has(bucket)) continue;
    if (seen.size === count) return;
    seen.add(bucket);
    yield point;
  }
}

function localClock(timeZone: string): (timeMs: number) => number {
  const format = clockFormat(timeZone);
  return (timeMs) => {
    const parts = format.formatToParts(timeMs).map(({ type, value }) => [type, Number(value)]);
    const { year, month, day, hour, minute, second } = Object.fromEntries(parts);
    return Date.UTC(year, month - 1, day, hour, minute, second) + timeMs % 1000;
  };
}

function clockFormat(timeZone: string): Intl.DateTimeFormat {
  const number = "numeric";
  const date = { year: number, month: number, day: number } as const;
  const time = { hour: number, minute: number, second: number, hourCycle: "h23" } as const;
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone, ...date, ...time });
  } catch (cause) {
    throw new UsageError(
      `Cannot use the time zone ${quote(timeZone)}: expected a name such as Europe/Berlin`,
      {
        cause,
      },
    );
  }
}
