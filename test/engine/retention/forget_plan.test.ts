/** What may go at once, and what stays in any case. The rules themselves are in retention.test.ts. */
import { describe, expect, test } from "bun:test";
import {
  type ForgetPolicy,
  type JudgedPoint,
  planForget,
} from "../../../src/engine/retention/forget_plan.ts";
import { DamageError } from "../../../src/errors.ts";

const DAY_MS = 24 * 3600_000;
const NOW = Date.UTC(2026, 5, 30);

/** So many days old; known to the store since then. */
function point(days: number, more: Partial<JudgedPoint> = {}): JudgedPoint {
  const timeMs = NOW - days * DAY_MS;
  const backup = `${days} days`;
  return {
    volume: "v",
    backup,
    timeMs,
    modifiedMs: timeMs,
    held: false,
    tags: [],
    damage: undefined,
    ...more,
  };
}

/** A point each of so many days, the oldest first. */
function daily(from: number, to: number, more: Partial<JudgedPoint> = {}): JudgedPoint[] {
  const days = Array.from({ length: from - to + 1 }, (_, i) => from - i);
  return days.map((day) => point(day, more));
}

function plan(points: JudgedPoint[], last: number, more: Partial<ForgetPolicy> = {}) {
  const policy = { counts: { last }, tags: [] };
  const options = { policy, timeZone: "UTC", maxDropPercent: 50, force: false, ...more };
  return planForget(points, { ...options, project: "acme", nowMs: NOW });
}

/** Backups that would go, and what hinders that. */
function outcome(...args: Parameters<typeof plan>) {
  const dropped = plan(...args).filter(({ kept }) => !kept);
  return { dropped: dropped.length, problems: [...new Set(dropped.map(({ problem }) => problem))] };
}

const refused = (text: string) => [expect.stringContaining(text)];

describe("planForget()", () => {
  test("gives a row for each point, in their order", () => {
    expect(plan(daily(2, 1), 1)).toEqual([
      {
        project: "acme",
        volume: "v",
        backup: "2 days",
        time: "2026-06-28T00:00:00.000Z",
        kept: false,
        rules: [],
        problem: null,
      },
      {
        project: "acme",
        volume: "v",
        backup: "1 days",
        time: "2026-06-29T00:00:00.000Z",
        kept: true,
        rules: ["last"],
        problem: null,
      },
    ]);
  });

  test("judges each volume by itself", () => {
    const others = daily(9, 1, { volume: "w" });
    const rows = plan([...daily(2, 1), ...others], 1);
    expect(rows.filter(({ kept }) => kept).map(({ volume }) => volume)).toEqual(["v", "w"]);
    expect(rows.filter(({ problem }) => problem !== null).map(({ volume }) => volume)).toEqual(
      Array(8).fill("w"),
    );
  });

  test("refuses to drop more than the share, and does not when that is forced", () => {
    expect(outcome(daily(10, 1), 5)).toEqual({ dropped: 5, problems: [null] });
    expect(outcome(daily(10, 1), 4)).toEqual({
      dropped: 6,
      problems: refused("6 of 10 restore points would be forgotten"),
    });
    expect(outcome(daily(10, 1), 4, { force: true })).toEqual({ dropped: 6, problems: [null] });
    expect(outcome(daily(10, 1), 4, { maxDropPercent: 60 })).toEqual({ dropped: 6, problems: [null] });
    expect(outcome(daily(10, 1), 8, { maxDropPercent: 19 })).toEqual({
      dropped: 2,
      problems: refused("19%"),
    });
  });

  test("drops one point however few there are and however small the share is", () => {
    expect(outcome(daily(2, 1), 1, { maxDropPercent: 1 })).toEqual({ dropped: 1, problems: [null] });
    expect(outcome([point(9, { held: true }), ...daily(2, 1)], 1)).toEqual({ dropped: 1, problems: [null] });
    expect(outcome(daily(1, 1), 1)).toEqual({ dropped: 0, problems: [] });
  });

  test("refuses when a flood of new points would push out the old, though it is half of all", () => {
    const good = daily(20, 2);
    const flood = Array.from({ length: 20 }, (_, i) => point(i / 100, { backup: `flood ${i}` }));
    const problems = refused("19 of 19 restore points older than a day");
    expect(outcome([...good, ...flood], 20)).toEqual({ dropped: 19, problems });
    // The same with dates of long ago: the store knows when it got them.
    const backdated = good.map((old) => ({
      ...old,
      backup: `${old.backup}, later`,
      timeMs: old.timeMs + 1,
      modifiedMs: NOW,
    }));
    const policy = { counts: { daily: 20 }, tags: [] };
    expect(outcome([...good, ...backdated], 0, { policy })).toEqual({ dropped: 19, problems });
  });

  test("does not take points that stay in any case for a reason to drop more of the others", () => {
    const good = daily(10, 1);
    const policy = { counts: { last: 1 }, tags: ["t"] };
    for (const more of [{ held: true }, { timeMs: NOW + DAY_MS }, { tags: ["t"] }]) {
      const many = Array.from({ length: 100 }, (_, i) => point(30 + i, more));
      expect(outcome([...many, ...good], 1, { policy })).toEqual({
        dropped: 9,
        problems: refused("9 of 10"),
      });
    }
  });

  test("takes a point for one of the future only when it is so by more than a minute", () => {
    const rules = (aheadMs: number) => plan([point(0, { timeMs: NOW + aheadMs })], 1)[0]!.rules;
    expect(rules(60_000)).toEqual(["last"]);
    expect(rules(60_001)).toEqual(["in the future"]);
  });

  test("keeps what cannot be read, says why, and does not count it", () => {
    const damage = new DamageError("k", 'Cannot read "k": it was changed');
    const rows = plan([...daily(3, 2), point(1, { damage })], 1);
    expect(rows.map(({ kept, rules, problem }) => ({ kept, rules, problem }))).toEqual([
      { kept: false, rules: [], problem: null },
      { kept: true, rules: ["last"], problem: null },
      { kept: true, rules: ["unreadable"], problem: damage.message },
    ]);
  });
});
