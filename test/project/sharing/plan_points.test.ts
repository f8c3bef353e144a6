/** Points that a collector misses: those that an earlier plan names, that are gone, and that no forget took. */
import { describe, expect, test } from "bun:test";
import { forgottenName } from "../../../src/format/layout.ts";
import { forgottenRecords, recordForgotten } from "../../../src/project/forgotten.ts";
import { LEASE_DEAD_MS } from "../../../src/project/sharing/lease.ts";
import { surveyLeases } from "../../../src/project/sharing/leases.ts";
import {
  assertPoints,
  dropRecords,
  lostPoints,
  newestHead,
} from "../../../src/project/sharing/plan_points.ts";
import { type FullHead, listPlans, type StoredPlan, writeHead } from "../../../src/project/sharing/plans.ts";
import { errorOf, testContext } from "../../kit/engine.ts";
import { beginLease, newProject } from "../../kit/project.ts";

const context = testContext();
const POINTS = [1, 2, 3].map((day) => `volumes/vm/2026112${day}T213259123Z-1a2b3c4d`);
const head = (made_ms: number, points = POINTS): FullHead => ({
  waits: [],
  made_ms,
  points,
  writtenMs: made_ms,
});
const plan = (of: StoredPlan["head"]): StoredPlan => ({
  id: "9a".repeat(16),
  head: of,
  shards: [],
  endedMs: undefined,
});

describe("newestHead()", () => {
  test("is the newest of those that can be read and were made by then", () => {
    const plans = [plan(head(5)), plan("unreadable"), plan(head(9)), plan("absent"), plan(head(7))];
    expect(newestHead(plans, Infinity)?.made_ms).toBe(9);
    expect(newestHead(plans, 8)?.made_ms).toBe(7);
    expect(newestHead(plans, 4)).toBeUndefined();
    expect(newestHead([], Infinity)).toBeUndefined();
  });
});

describe("lostPoints() and assertPoints()", () => {
  test("a point is lost that is gone and was not forgotten", async () => {
    const { project } = await newProject();
    await recordForgotten(project, { names: [POINTS[0]!], lease: "1a".repeat(16) }, {});
    const there = { points: new Set([POINTS[2]!]), head: head(5) };
    expect(await lostPoints(project, there, context)).toEqual([POINTS[1]!]);
    const error = await errorOf(assertPoints(project, there, context));
    expect(error.code).toBe("damage");
    expect(error.message).toContain("1 restore point ");
    expect(error.message).toContain(`"acme/vm@${POINTS[1]!.slice("volumes/vm/".length)}"`);
  });

  test("nothing is lost where all points are there, were forgotten, or where there was no plan before", async () => {
    const { project } = await newProject();
    expect(await lostPoints(project, { points: new Set(), head: undefined }, context)).toEqual([]);
    await assertPoints(project, { points: new Set(POINTS), head: head(5) }, context);
    await recordForgotten(project, { names: POINTS, lease: "1a".repeat(16) }, {});
    await assertPoints(project, { points: new Set(), head: head(5) }, context);
  });

  test("a point is not lost that a newer plan no longer names", async () => {
    const { project } = await newProject();
    const lease = await beginLease(project);
    await writeHead(project, { lease, head: { waits: [], made_ms: 9 }, points: POINTS.slice(1) });
    const lost = await lostPoints(project, { points: new Set(), head: head(5) }, context);
    expect(lost).toEqual(POINTS.slice(1));
    await lease.end();
  });

  test("an error names five of many points", async () => {
    const { project } = await newProject();
    const many = Array.from({ length: 9 }, (_, day) => `volumes/vm/2026110${day + 1}T213259123Z-1a2b3c4d`);
    const { message } = await errorOf(
      assertPoints(project, { points: new Set(), head: head(5, many) }, context),
    );
    expect(message.match(/acme\/vm@/g)).toHaveLength(5);
    expect(message).toContain("9 restore points");
    expect(message).toContain("4 more");
  });
});

describe("dropRecords()", () => {
  /** A record of the first point, long ago, and a plan that names `remembered`. */
  async function old(remembered: string[]) {
    const { project, store } = await newProject();
    await recordForgotten(project, { names: [POINTS[0]!], lease: "1a".repeat(16) }, {});
    const lease = await beginLease(project);
    await writeHead(project, { lease, head: { waits: [], made_ms: 9 }, points: remembered });
    const key = project.objectKey(forgottenName("1a".repeat(16)));
    const { modifiedMs } = (await store.head(key))!;
    const drop = async (points: string[], nowMs = modifiedMs + LEASE_DEAD_MS + 1) => {
      const records = await forgottenRecords(project, context);
      const survey = await surveyLeases(project, nowMs, context);
      await dropRecords(project, { records, points: new Set(points), survey, nowMs, lease }, context);
      return await store.head(key) === undefined;
    };
    return { project, lease, drop, modifiedMs, plans: () => listPlans(project, context) };
  }

  test("removes a record of points that no plan remembers", async () => {
    const { lease, drop } = await old([POINTS[1]!]);
    expect(await drop([])).toBe(true);
    await lease.end();
  });

  test("removes a record of points that are there after all", async () => {
    const { lease, drop } = await old([POINTS[0]!]);
    expect(await drop([POINTS[0]!])).toBe(true);
    await lease.end();
  });

  test("keeps a record that still excuses a point", async () => {
    const { lease, drop } = await old([POINTS[0]!]);
    expect(await drop([])).toBe(false);
    await lease.end();
  });

  test("keeps a record that was written while work runs that may still ask for it", async () => {
    const { project, lease, drop, modifiedMs } = await old([]);
    expect(await drop([], modifiedMs + LEASE_DEAD_MS)).toBe(false);
    const running = await beginLease(project, "backup");
    expect(await drop([])).toBe(false);
    await running.end();
    expect(await drop([])).toBe(true);
    await lease.end();
  });
});
