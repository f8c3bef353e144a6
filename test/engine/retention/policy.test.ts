/** Which points stay: examples of each rule, then any points and policies against a model that is as plain as can be. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UsageError } from "../../../src/errors.ts";
import {
  applyPolicy,
  assertPolicy,
  COUNT_RULES,
  type CountRule,
  maxDropped,
  type RetentionOptions,
  type RetentionPoint,
  type RetentionPolicy,
} from "../../../src/engine/retention/policy.ts";

const HOUR_MS = 3600_000;
const NOW = "2026-06-30T12:00:00Z";

interface Given {
  policy?: Partial<RetentionPolicy>;
  now?: string;
  timeZone?: string;
}

/** The points' ids are their times. */
function points(times: readonly string[], more: Partial<RetentionPoint> = {}): RetentionPoint[] {
  return times.map((id) => ({ id, timeMs: Date.parse(id), held: false, tags: [], ...more }));
}

function options({ policy = {}, now = NOW, timeZone = "UTC" }: Given): RetentionOptions {
  return { policy: { counts: {}, tags: [], ...policy }, nowMs: Date.parse(now), timeZone };
}

/** What is kept, with the rules. */
function kept(given: RetentionPoint[], more: Given): Record<string, string[]> {
  const rules = applyPolicy(given, options(more));
  expect([...rules.keys()]).toEqual(given.map(({ id }) => id));
  return Object.fromEntries([...rules].filter(([, why]) => why.length > 0));
}

function keptBy(rule: CountRule, count: number, given: { times: string[] } & Given): string[] {
  const result = kept(points(given.times), { ...given, policy: { counts: { [rule]: count } } });
  for (const rules of Object.values(result)) expect(rules).toEqual([rule]);
  return Object.keys(result);
}

describe("applyPolicy() keeps the newest of each", () => {
  test("point when the rule is last, also where two have the same time", () => {
    const times = ["2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z"];
    expect(keptBy("last", 2, { times })).toEqual(times.slice(1));
    const twins = points(["2026-01-01T00:00:00Z"]).flatMap((point) =>
      ["b", "a"].map((id) => ({ ...point, id }))
    );
    expect(kept(twins, { policy: { counts: { last: 1 } } })).toEqual({ b: ["last"] });
  });

  test("hour that has points, however long ago, when the rule is hourly", () => {
    const times = [
      "2026-01-01T09:59:59Z",
      "2026-01-01T10:00:00Z",
      "2026-01-01T10:59:59Z",
      "2026-06-01T00:00:00Z",
    ];
    expect(keptBy("hourly", 2, { times })).toEqual(times.slice(2));
    expect(keptBy("hourly", 9, { times })).toEqual([times[0]!, times[2]!, times[3]!]);
  });

  test("day of the time zone when the rule is daily", () => {
    const times = ["2026-01-01T22:59:00Z", "2026-01-01T23:01:00Z", "2026-01-02T00:01:00Z"];
    expect(keptBy("daily", 9, { times })).toEqual(times.slice(1));
    expect(keptBy("daily", 9, { times, timeZone: "Europe/Berlin" })).toEqual([times[0]!, times[2]!]);
  });

  test("ISO week when the rule is weekly, over the end of a year as well", () => {
    const times = [
      "2026-12-27T23:59:00Z",
      "2026-12-28T00:00:00Z",
      "2026-12-31T00:00:00Z",
      "2027-01-03T23:59:00Z",
    ];
    expect(keptBy("weekly", 9, { times, now: "2028-01-01" })).toEqual([times[0]!, times[3]!]);
  });

  test("month and year when these are the rules", () => {
    const times = [
      "2024-05-31T23:59:00Z",
      "2025-05-01T00:00:00Z",
      "2025-05-31T23:59:00Z",
      "2025-06-01T00:00:00Z",
    ];
    expect(keptBy("monthly", 9, { times })).toEqual([times[0]!, times[2]!, times[3]!]);
    expect(keptBy("yearly", 9, { times })).toEqual([times[0]!, times[3]!]);
  });

  test("hour twice when the end of summer time repeats it, and once when its beginning skips one", () => {
    const timeZone = "Europe/Berlin";
    const autumn = [
      "2025-10-25T23:30:00Z",
      "2025-10-26T00:10:00Z",
      "2025-10-26T00:50:00Z",
      "2025-10-26T01:10:00Z",
    ];
    expect(keptBy("hourly", 9, { times: autumn, timeZone })).toEqual([autumn[0]!, autumn[2]!, autumn[3]!]);
    const spring = ["2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:59:00Z"];
    expect(keptBy("hourly", 9, { times: spring, timeZone })).toEqual([spring[0]!, spring[2]!]);
    // A day of 25 hours and one of 23 are one day each.
    expect(keptBy("daily", 9, { times: [...autumn, ...spring], timeZone })).toEqual([autumn[3]!, spring[2]!]);
  });
});

describe("applyPolicy() keeps a point", () => {
  const times = ["2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z"];

  test("within the time before the newest point, not before now", () => {
    const within = (withinMs: number) => Object.keys(kept(points(times), { policy: { withinMs } }));
    expect(within(24 * HOUR_MS)).toEqual(times.slice(1));
    expect(within(24 * HOUR_MS - 1)).toEqual(times.slice(2));
    expect(kept([], { policy: { withinMs: 1 } })).toEqual({});
  });

  test("with one of the tags", () => {
    const tagged = [
      ...points(times.slice(0, 1), { tags: ["a", "b"] }),
      ...points(times.slice(1), { tags: ["c"] }),
    ];
    const policy = { counts: { last: 1 }, tags: ["x", "b"] };
    expect(kept(tagged, { policy })).toEqual({ [times[0]!]: ["tag"], [times[2]!]: ["last"] });
  });

  test("that is held, and it counts like any other", () => {
    const held = [...points(times.slice(0, 1), { held: true }), ...points(times.slice(1))];
    expect(kept(held, { policy: { counts: { last: 2 } } })).toEqual({
      [times[0]!]: ["held"],
      [times[1]!]: ["last"],
      [times[2]!]: ["last"],
    });
    const newest = [...points(times.slice(0, 2)), ...points(times.slice(2), { held: true })];
    expect(kept(newest, { policy: { counts: { last: 1 } } })).toEqual({ [times[2]!]: ["held", "last"] });
  });

  test("in the future, and it does not count", () => {
    const policy = { counts: { last: 1, yearly: 1 }, withinMs: 1 };
    expect(kept(points(times), { policy, now: times[1]! })).toEqual({
      [times[1]!]: ["last", "yearly", "within"],
      [times[2]!]: ["in the future"],
    });
  });
});

test("applyPolicy() throws UsageError when the time zone is none", () => {
  for (const timeZone of ["Mars/Olympus", "", "local\n"]) {
    expect(() => applyPolicy([], options({ timeZone }))).toThrow(UsageError);
  }
});

test("assertPolicy() throws UsageError when nothing says how many stay, tags or not", () => {
  for (const tags of [[], ["a"]]) expect(() => assertPolicy({ counts: {}, tags })).toThrow(UsageError);
  for (const rule of COUNT_RULES) assertPolicy({ counts: { [rule]: 1 }, tags: [] });
  assertPolicy({ counts: {}, withinMs: 1, tags: [] });
});

test("maxDropped() lets one go always, else the share rounded down", () => {
  expect([1, 2, 3, 4, 5, 100].map((count) => maxDropped(count, 50))).toEqual([1, 1, 1, 2, 2, 50]);
  expect([maxDropped(100, 29), maxDropped(3, 1), maxDropped(7, 100)]).toEqual([29, 1, 7]);
});

describe("applyPolicy() of any points and policy", () => {
  const zones = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
  ];
  const begin = Date.UTC(2011, 11, 20); // Apia then left out the 30th of December
  const now = begin + 400 * 24 * HOUR_MS;
  /** Clustered, so that hours and days are shared; some later than now. */
  const time = fc.tuple(fc.nat(420), fc.nat(3), fc.nat(HOUR_MS)).map(([days, hours, ms]) =>
    begin + (days * 24 + hours) * HOUR_MS + ms
  );
  const point = fc.record({
    id: fc.stringMatching(/^[a-z]{8}$/),
    timeMs: time,
    held: fc.boolean(),
    tags: fc.subarray(["a", "b"]),
  });
  const anyPoints = fc.uniqueArray(point, { maxLength: 40, selector: ({ id }) => id });
  const count = fc.integer({ min: 1, max: 12 });
  const counts = fc.record(
    { last: count, hourly: count, daily: count, weekly: count, monthly: count, yearly: count },
    { requiredKeys: [] },
  );
  const within = fc.option(fc.nat(100 * 24 * HOUR_MS), { nil: undefined });
  const policy = fc.record({ counts, withinMs: within, tags: fc.subarray(["a"]) });
  const anyOptions = fc.record({ policy, nowMs: fc.constant(now), timeZone: fc.constantFrom(...zones) });

  test("is that of the model", () => {
    fc.assert(
      fc.property(anyPoints, anyOptions, (points, options) => {
        expect(new Map<string, string[]>(applyPolicy(points, options))).toEqual(
          new Map(points.map((point) => [
            point.id,
            modelRules(point, points, options),
          ])),
        );
      }),
    );
  });

  test("drops nothing more when a rule is added or its number grows", () => {
    fc.assert(fc.property(anyPoints, anyOptions, policy, (points, options, more) => {
      const wider = { ...options, policy: bothOf(options.policy, more) };
      const after = applyPolicy(points, wider);
      for (const [id, rules] of applyPolicy(points, options)) {
        if (rules.length > 0) expect([id, after.get(id)!.length]).not.toEqual([id, 0]);
      }
    }));
  });

  test("keeps the newest point that is not in the future when last is 1 or more", () => {
    fc.assert(fc.property(anyPoints, anyOptions, count, (points, options, last) => {
      const { policy } = options;
      const rules = applyPolicy(points, {
        ...options,
        policy: { ...policy, counts: { ...policy.counts, last } },
      });
      const newest = points.filter(({ timeMs }) => timeMs <= now)
        .toSorted((a, b) => b.timeMs - a.timeMs || (a.id < b.id ? 1 : -1))[0];
      if (newest !== undefined) expect(rules.get(newest.id)).toContain("last");
    }));
  });

  test("is the same for the others when points in the future or holds are added", () => {
    fc.assert(fc.property(anyPoints, anyOptions, (points, options) => {
      const past = points.filter(({ timeMs }) => timeMs <= now);
      const rules = applyPolicy(points, options);
      const without = applyPolicy(past, options);
      for (const { id } of past) expect(rules.get(id)).toEqual(without.get(id)!);
      const held = applyPolicy(past.map((point) => ({ ...point, held: true })), options);
      for (const { id, held: was } of past) {
        expect(held.get(id)).toEqual([...(was ? [] : ["held" as const]), ...without.get(id)!]);
      }
    }));
  });
});

/** Each number the larger one, each tag of either. */
function bothOf(one: RetentionPolicy, other: RetentionPolicy): RetentionPolicy {
  const counts: RetentionPolicy["counts"] = {};
  for (const rule of COUNT_RULES) {
    const most = Math.max(one.counts[rule] ?? 0, other.counts[rule] ?? 0);
    if (most > 0) counts[rule] = most;
  }
  const withinMs = Math.max(one.withinMs ?? -1, other.withinMs ?? -1);
  const tags = [...one.tags, ...other.tags];
  return withinMs < 0 ? { counts, tags } : { counts, withinMs, tags };
}

/** Point by point: how many hours, days … with newer points there are, by the names that a calendar gives them. */
function modelRules(point: RetentionPoint, points: RetentionPoint[], options: RetentionOptions): string[] {
  const { policy, nowMs, timeZone } = options;
  if (point.timeMs > nowMs) return [...(point.held ? ["held"] : []), "in the future"];
  const isNewer = (other: RetentionPoint) =>
    other.timeMs > point.timeMs || (other.timeMs === point.timeMs && other.id > point.id);
  const newer = points.filter((other) => other.timeMs <= nowMs && isNewer(other));
  const name = (rule: CountRule, of: RetentionPoint) =>
    rule === "last" ? of.id : calendarName(rule, of, timeZone);
  const counted = COUNT_RULES.filter((rule) => {
    const names = new Set(newer.map((other) => name(rule, other)));
    return !names.has(name(rule, point)) && names.size < (policy.counts[rule] ?? 0);
  });
  const isWithin = policy.withinMs !== undefined &&
    newer.every(({ timeMs }) => timeMs - point.timeMs <= policy.withinMs!);
  return [
    ...(point.held ? ["held"] : []),
    ...counted,
    ...(isWithin ? ["within"] : []),
    ...(point.tags.some((tag) => policy.tags.includes(tag)) ? ["tag"] : []),
  ];
}

/** Swedish dates are written as ISO 8601 has them. */
function calendarName(rule: CountRule, { timeMs }: RetentionPoint, timeZone: string): string {
  const date = new Date(timeMs).toLocaleDateString("sv-SE", { timeZone });
  if (rule === "yearly") return date.slice(0, 4);
  if (rule === "monthly") return date.slice(0, 7);
  if (rule === "daily") return date;
  if (rule === "weekly") return mondayOf(date);
  const timeZoneName = "longOffset";
  return new Date(timeMs).toLocaleString("sv-SE", {
    timeZone,
    hour: "2-digit",
    timeZoneName,
  }) + date;
}

function mondayOf(date: string): string {
  const day = new Date(`${date}T00:00:00Z`);
  while (day.getUTCDay() !== 1) day.setUTCDate(day.getUTCDate() - 1);
  return day.toISOString();
}
