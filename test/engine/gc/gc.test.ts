/**
 * A collector beside leases and plans: what it deletes, what it waits for, and that nothing odd in the store keeps it from
 * its work. That no order of calls loses anything is the simulation's to show.
 */
import { describe, expect, test } from "bun:test";
import { gc, type GcReport } from "../../../src/engine/gc/gc.ts";
import { Lease, LEASE_DEAD_MS } from "../../../src/engine/gc/lease.ts";
import { openProject, type Project } from "../../../src/engine/project.ts";
import type { Repository } from "../../../src/engine/repository.ts";
import { utf8 } from "../../../src/format/bytes.ts";
import { OBJECT_TYPE } from "../../../src/format/object.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  keysOf,
  LEASES,
  MANIFESTS,
  newRepository,
  noiseChunks,
  PROJECT,
  testContext,
} from "../../helpers/engine.ts";
import { data } from "../../helpers/memory_source.ts";

const SECRET = { kind: "none" } as const;
const PLANS = `projects/${PROJECT}/gc/`;
const KEPT = noiseChunks(1, 2);
/** Two chunks and a page that the forgotten volume had alone. */
const GARBAGE = 3;
const LEASE_ID = "5e".repeat(16);

/** A project with a volume that stays and the garbage of one that was forgotten, and the store's clock. */
async function setUp() {
  const clock = { now: Date.UTC(2026, 0, 1) };
  const inner = new MemoryStore({ now: () => clock.now += 1000 });
  const repository = await newRepository(inner);
  await backUp(repository, [{ sizeBytes: KEPT.length, extents: [data(0, KEPT)] }]);
  await backUp(repository, [{ sizeBytes: 2 * CHUNK_BYTES, extents: [data(0, noiseChunks(3, 4))] }], {
    volume: "old",
  });
  await inner.delete(await keysOf(inner, `${MANIFESTS}old/`));
  const project = await openProject(
    repository,
    { name: PROJECT, secret: SECRET, create: false },
    testContext(),
  );
  const chunks = (await keysOf(inner, CHUNKS)).length;
  const warnings: object[] = [];
  const log = { ...testContext().log, warn: (fields: object) => void warnings.push(fields) };
  const collect = (options: { dryRun?: boolean } = {}): Promise<GcReport> =>
    gc(repository, { project: PROJECT, secret: SECRET, dryRun: false, ...options }, testContext({ log }));
  const deleted = async () => chunks - (await keysOf(inner, CHUNKS)).length;
  return { repository, inner, clock, project, collect, deleted, warnings };
}

async function isWhole(repository: Repository): Promise<boolean> {
  return Buffer.compare(await bytesOf(repository), KEPT) === 0;
}

async function announce(project: Project, work: "backup" | "sweep", volume = "rbd/vm-1"): Promise<Lease> {
  return await Lease.begin(project, { work, volume, host: "h", key: project.firstKey }, testContext());
}

describe("gc()", () => {
  test("deletes what no point needs, and leaves neither plan nor lease", async () => {
    const { repository, inner, collect, deleted } = await setUp();
    expect(await collect()).toMatchObject({
      ...{ garbage: GARBAGE, deleted: GARBAGE, spared: 0, plans_swept: 1, plans_waiting: 0, refused: [] },
      ...{ dead_leases: 0, unreadable_leases: 0 },
    });
    expect(await deleted()).toBe(GARBAGE);
    expect([...await keysOf(inner, PLANS), ...await keysOf(inner, LEASES)]).toEqual([]);
    expect(await isWhole(repository)).toBe(true);
    expect(await collect()).toMatchObject({ garbage: 0, deleted: 0 });
  });

  test("only counts when it is a dry run", async () => {
    const { inner, collect, deleted } = await setUp();
    expect(await collect({ dryRun: true })).toMatchObject({ garbage: GARBAGE, deleted: 0, plans_waiting: 0 });
    expect([await deleted(), await keysOf(inner, PLANS)]).toEqual([0, []]);
  });

  test("waits for work that began before the plan, and deletes once it has ended", async () => {
    const { project, collect, deleted } = await setUp();
    const backup = await announce(project, "backup");
    expect(await collect()).toMatchObject({ deleted: 0, plans_waiting: 1 });
    expect(await collect()).toMatchObject({ deleted: 0, plans_waiting: 1 });
    await backup.end();
    expect(await collect()).toMatchObject({ deleted: GARBAGE, plans_waiting: 0 });
    expect(await deleted()).toBe(GARBAGE);
  });

  test("removes a lease that the store has not seen for a day, and no sooner", async () => {
    const { project, inner, clock, collect } = await setUp();
    await announce(project, "backup");
    clock.now += LEASE_DEAD_MS - 3600_000;
    expect(await collect()).toMatchObject({ dead_leases: 0, deleted: 0 });
    clock.now += 3600_000;
    expect(await collect()).toMatchObject({ dead_leases: 1, deleted: GARBAGE });
    expect(await keysOf(inner, LEASES)).toEqual([]);
  });
});

/** What can stand where a lease should: none of it says what runs. */
const UNREADABLE: Record<string, (project: Project) => Promise<void>> = {
  "is no object": (project) => project.store.put(`${LEASES}${LEASE_ID}`, utf8("hello")),
  "is empty": (project) => project.store.put(`${LEASES}${LEASE_ID}`, new Uint8Array()),
  "is sealed with a key that is gone": async (project) => {
    const other = await openProject(
      await newRepository(),
      { name: PROJECT, secret: SECRET, create: true },
      testContext(),
    );
    await project.write(leaseObject(utf8("{}")), { key: other.firstKey });
  },
  "is another's under its name": async (project) => {
    await announce(project, "backup");
    const [key] = await keysOf(project.store, LEASES);
    await project.store.put(`${LEASES}${LEASE_ID}`, await project.store.get(key!));
    await project.store.delete([key!]);
  },
  "holds no JSON": (project) => writeLease(project, "{"),
  "holds nothing": (project) => writeLease(project, "null"),
  "holds something else": (project) => writeLease(project, '{"state":"ended"}'),
  "tells of unknown work": (project) =>
    writeLease(project, '{"state":"ended","work":"x","volume":"v","host":"h","pid":1,"started_ms":null}'),
};

function leaseObject(content: Uint8Array) {
  return { type: OBJECT_TYPE.lease, name: `leases/${LEASE_ID}`, content };
}

async function writeLease(project: Project, text: string): Promise<void> {
  await project.write(leaseObject(utf8(text)), { key: project.firstKey });
}

describe("gc() beside a lease that cannot be read", () => {
  test.each(Object.entries(UNREADABLE))(
    "says so and waits until it is a day old, when it %s",
    async (_, leave) => {
      const { repository, project, inner, clock, collect, warnings } = await setUp();
      await leave(project);
      const report = await collect();
      expect(report).toMatchObject({ unreadable_leases: 1, garbage: GARBAGE, deleted: 0, plans_waiting: 1 });
      expect(warnings).toEqual([{ lease: LEASE_ID, reason: expect.stringMatching(/^Cannot read ".*": /) }]);
      expect(await keysOf(inner, LEASES)).toEqual([`${LEASES}${LEASE_ID}`]);
      clock.now += LEASE_DEAD_MS;
      expect(await collect()).toMatchObject({ unreadable_leases: 0, dead_leases: 1, deleted: GARBAGE });
      expect(await keysOf(inner, LEASES)).toEqual([]);
      expect(await isWhole(repository)).toBe(true);
    },
  );

  test("does not sweep a plan that waits for nothing: the lease may be that of another sweep", async () => {
    const { project, clock, collect } = await setUp();
    const backup = await announce(project, "backup");
    await collect();
    await backup.end();
    await UNREADABLE["is no object"]!(project);
    expect(await collect()).toMatchObject({ plans_swept: 0, plans_waiting: 1, deleted: 0 });
    clock.now += LEASE_DEAD_MS;
    expect(await collect()).toMatchObject({ plans_swept: 1, plans_waiting: 0, deleted: GARBAGE });
  });

  test("counts it in a dry run, too", async () => {
    const { project, collect } = await setUp();
    await UNREADABLE["is no object"]!(project);
    expect(await collect({ dryRun: true })).toMatchObject({ unreadable_leases: 1, garbage: GARBAGE });
  });
});

describe("gc() and a plan that is damaged", () => {
  /** A plan whose wait-set has ended. */
  async function withPlan() {
    const parts = await setUp();
    const backup = await announce(parts.project, "backup");
    await parts.collect();
    await backup.end();
    return { ...parts, plan: await keysOf(parts.inner, PLANS) };
  }

  test.each(["garbage", ""])("makes a head anew that cannot be read: %j", async (text) => {
    const { inner, collect, plan } = await withPlan();
    await inner.put(plan.find((key) => key.endsWith("/head"))!, utf8(text));
    expect(await collect()).toMatchObject({ plans_swept: 1, deleted: GARBAGE });
    expect(await keysOf(inner, PLANS)).toEqual([]);
  });

  test.each(["{}", "null", '{"waits":[1]}', "["])("makes a head anew that says %s", async (text) => {
    const { inner, project, collect, plan } = await withPlan();
    const key = plan.find((key) => key.endsWith("/head"))!;
    const object = {
      type: OBJECT_TYPE.planHead,
      name: key.slice(project.key("").length),
      content: utf8(text),
    };
    await project.write(object, { key: project.firstKey });
    expect(await collect()).toMatchObject({ plans_swept: 1, deleted: GARBAGE });
    expect(await keysOf(inner, PLANS)).toEqual([]);
  });

  test("deletes nothing by a shard that cannot be read, and finds what it named again", async () => {
    const { repository, inner, collect, plan } = await withPlan();
    const shard = plan.find((key) => !key.endsWith("/head"))!;
    await inner.put(shard, utf8("garbage"));
    // The plan goes, and the next one names it once more.
    expect(await collect()).toMatchObject({ plans_swept: 2, deleted: GARBAGE });
    expect(await keysOf(inner, PLANS)).toEqual([]);
    expect(await isWhole(repository)).toBe(true);
  });

  test("a backup under a shard that cannot be read stores anew what it may condemn", async () => {
    const { repository, inner, plan, collect } = await withPlan();
    for (const key of plan) await inner.put(key, utf8("garbage"));
    const content = noiseChunks(3, 4);
    await backUp(repository, [{ sizeBytes: content.length, extents: [data(0, content)] }], { volume: "new" });
    await inner.delete((await keysOf(inner, CHUNKS)).filter((key) => isOf(key, plan) && !key.includes(".")));
    expect(Buffer.compare(await bytesOf(repository, { volume: "new" }), content)).toBe(0);
    await collect();
    await collect();
    expect(Buffer.compare(await bytesOf(repository, { volume: "new" }), content)).toBe(0);
  });
});

/** Whether one of the plan's shards is that of the chunk. */
function isOf(key: string, plan: readonly string[]): boolean {
  const shard = key.slice(CHUNKS.length, CHUNKS.length + 2);
  return plan.some((name) => name.endsWith(`/${shard}`));
}
