/** Plans in the store: what of them is there, and in which order they go. */
import { describe, expect, test } from "bun:test";
import { planEndName, planHeadName, planShardName } from "../../../src/format/layout.ts";
import { OBJECT_TYPE } from "../../../src/format/object.ts";
import { encodePlanShard } from "../../../src/format/plan.ts";
import type { Project } from "../../../src/project/project.ts";
import { listPlans, readShard, removePlan, writeEnd, writeHead } from "../../../src/project/sharing/plans.ts";
import { flipStored } from "../../kit/damage.ts";
import { testContext } from "../../kit/engine.ts";
import { beginLease, newProject } from "../../kit/project.ts";

const context = testContext();
const HEAD = { waits: ["5e".repeat(16)], made_ms: 5 };
const POINTS = ["volumes/vm/20261121T213259123Z-1a2b3c4d"];
const REF = { id: new Uint8Array(32).fill(7), lease: undefined };

async function writeShard(project: Project, plan: string, shard: number): Promise<void> {
  const object = { type: OBJECT_TYPE.planShard, name: planShardName(plan, shard) };
  await project.write({ ...object, content: encodePlanShard([REF]) }, { keys: project.firstKey });
}

describe("listPlans()", () => {
  test("shows a plan from its first shard to its end", async () => {
    const { project, store } = await newProject();
    const lease = await beginLease(project);
    const plan = lease.idHex;
    expect(await listPlans(project, context)).toEqual([]);
    await writeShard(project, plan, 7);
    expect(await listPlans(project, context)).toEqual([
      { id: plan, head: "absent", shards: [7], endedMs: undefined },
    ]);
    await writeHead(project, { lease, head: HEAD, points: POINTS });
    const writtenMs = (await store.head(project.objectKey(planHeadName(plan))))!.modifiedMs;
    expect(await listPlans(project, context)).toEqual([
      { id: plan, head: { ...HEAD, points: POINTS, writtenMs }, shards: [7], endedMs: undefined },
    ]);
    await writeEnd(project, { lease, plan });
    const endedMs = (await store.head(project.objectKey(planEndName(plan))))!.modifiedMs;
    expect(await listPlans(project, context)).toMatchObject([{ id: plan, endedMs }]);
    await lease.end();
  });

  test("shows a head that is damaged as unreadable, and its shards all the same", async () => {
    const { project, store } = await newProject();
    const lease = await beginLease(project);
    await writeShard(project, lease.idHex, 7);
    await writeHead(project, { lease, head: HEAD, points: POINTS });
    await flipStored(store, project.objectKey(planHeadName(lease.idHex)), (length) => length - 5);
    expect(await listPlans(project, context)).toMatchObject([{ head: "unreadable", shards: [7] }]);
    await lease.end();
  });
});

test("readShard() gives what a shard condemns, and nothing where that is gone or damaged", async () => {
  const { project, store } = await newProject();
  const plan = "9a".repeat(16);
  await writeShard(project, plan, 7);
  expect(await readShard(project, { plan, shard: 7 }, context)).toEqual(encodePlanShard([REF]));
  expect(await readShard(project, { plan, shard: 8 }, context)).toBeUndefined();
  await flipStored(store, project.objectKey(planShardName(plan, 7)), (length) => length - 5);
  expect(await readShard(project, { plan, shard: 7 }, context)).toBeUndefined();
});

describe("removePlan()", () => {
  async function endedPlan(refuse: (key: string) => boolean = () => false) {
    const made = await newProject({ refuse });
    const lease = await beginLease(made.project);
    await writeShard(made.project, lease.idHex, 7);
    await writeHead(made.project, { lease, head: HEAD, points: POINTS });
    await writeEnd(made.project, { lease, plan: lease.idHex });
    const [plan] = await listPlans(made.project, context);
    return { ...made, lease, plan: plan! };
  }

  test("removes all of it, the end last", async () => {
    const { project, store, lease, plan } = await endedPlan();
    await removePlan(project, { plan, lease });
    expect(await listPlans(project, context)).toEqual([]);
    expect(store.keys("delete").at(-1)).toBe(project.objectKey(planEndName(plan.id)));
    await lease.end();
  });

  test("leaves the end while anything else of it stays", async () => {
    const { project, lease, plan } = await endedPlan((key) => key.endsWith("/head"));
    await removePlan(project, { plan, lease });
    const [left] = await listPlans(project, context);
    expect(left).toMatchObject({ shards: [], endedMs: plan.endedMs });
    await lease.end();
  });
});
