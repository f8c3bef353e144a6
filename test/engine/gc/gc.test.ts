/**
 * A collector beside leases and plans: what it deletes, what it waits for, and that nothing odd in the store keeps it from
 * its work. That no order of calls loses anything is the simulation's to show.
 */
import { describe, expect, test } from "bun:test";
import { gc, type GcOptions } from "../../../src/engine/gc/gc.ts";
import type { GcReport } from "../../../src/engine/gc/gc_report.ts";
import { Lease, LEASE_DEAD_MS } from "../../../src/project/sharing/lease.ts";
import { openProject } from "../../../src/project/open_project.ts";
import type { Project } from "../../../src/project/project.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { utf8 } from "../../../src/util/bytes.ts";
import { OBJECT_TYPE } from "../../../src/format/object.ts";
import { forgetPoint } from "../../../src/engine/retention/forget.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import type { ObjectInfo, Store } from "../../../src/store/store.ts";
import {
  AT_ONCE,
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  keysOf,
  LEASES,
  MANIFESTS,
  newRepository,
  noiseChunks,
  PROJECT,
  testContext,
  through,
} from "../../kit/engine.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { data } from "../../kit/memory_source.ts";
const PLANS = `projects/${PROJECT}/gc/`;
const FORGOTTEN = `projects/${PROJECT}/forgotten/`;
const DAY_MS = 24 * 3600_000;
const WHOLE_PROJECT = { project: PROJECT, secrets: [], dryRun: false };
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
  const kept = await keysOf(inner, CHUNKS);
  await backUp(repository, [{ sizeBytes: 2 * CHUNK_BYTES, extents: [data(0, noiseChunks(3, 4))] }], {
    volume: "old",
  });
  await inner.delete(await keysOf(inner, `${MANIFESTS}old/`));
  const project = await openProject(
    repository,
    { name: PROJECT, secrets: [] },
    testContext(),
  );
  const all = await keysOf(inner, CHUNKS);
  const chunks = all.length;
  const garbage = all.filter((key) => !kept.includes(key));
  const warnings: object[] = [];
  const log = { ...testContext().log, warn: (fields: object) => void warnings.push(fields) };
  const collect = (options: Partial<GcOptions> = {}): Promise<GcReport> =>
    gc(repository, { ...WHOLE_PROJECT, ...AT_ONCE, ...options }, testContext({ log }));
  const deleted = async () => chunks - (await keysOf(inner, CHUNKS)).length;
  return { repository, inner, clock, project, collect, deleted, warnings, garbage };
}

async function isWhole(repository: Repository): Promise<boolean> {
  return Buffer.compare(await bytesOf(repository), KEPT) === 0;
}

async function announce(project: Project): Promise<Lease> {
  return await Lease.begin(project, { work: "backup", volume: "rbd/vm-1" }, testContext({ host: "h" }));
}

/** A plan that a later gc sweeps. */
const WAITING = expect.objectContaining({ plan: expect.stringMatching(/^[0-9a-f]{32}$/) });

describe("gc()", () => {
  test("deletes what no point needs, and goes on condemning it for eight days", async () => {
    const { repository, inner, clock, collect, deleted } = await setUp();
    expect(await collect()).toMatchObject({
      ...{ garbage: GARBAGE, condemned: GARBAGE, deleted: GARBAGE, spared: 0, plans_swept: 1 },
      ...{ plans_waiting: [], refused: [], stopped: null, dead_leases: 0, unreadable_leases: 0 },
    });
    expect(await deleted()).toBe(GARBAGE);
    expect((await keysOf(inner, PLANS)).map((key) => key.split("/").at(-1))).toEqual(["all", "end", "head"]);
    expect(await keysOf(inner, LEASES)).toEqual([]);
    expect(await isWhole(repository)).toBe(true);
    clock.now += 8 * DAY_MS;
    expect(await collect()).toMatchObject({ garbage: 0, deleted: 0 });
    // What the last gc remembers of the points.
    expect((await keysOf(inner, PLANS)).map((key) => key.split("/").at(-1))).toEqual(["head"]);
  });

  test("only counts when it is a dry run, and writes nothing", async () => {
    const { repository, inner, collect, deleted } = await setUp();
    const before = await keysOf(inner, "");
    const hooked = new HookedStore(inner, {});
    const report = await gc(
      through(repository, hooked),
      { ...WHOLE_PROJECT, ...AT_ONCE, dryRun: true },
      testContext(),
    );
    expect(report).toMatchObject({ garbage: GARBAGE, condemned: GARBAGE, deleted: 0, plans_waiting: [] });
    expect([...hooked.keys("put"), ...hooked.keys("delete")]).toEqual([]);
    expect([await deleted(), await keysOf(inner, "")]).toEqual([0, before]);
    await collect();
    expect(await deleted()).toBe(GARBAGE);
  });

  test("waits for work that began before the plan, says which, and deletes once it has ended", async () => {
    const { project, collect, deleted } = await setUp();
    const backup = await announce(project);
    const wait = { lease: backup.idHex, work: "backup", volume: "rbd/vm-1", host: "h", pid: process.pid };
    const waiting = { plans_waiting: [expect.objectContaining({ waits: [expect.objectContaining(wait)] })] };
    expect(await collect()).toMatchObject({ deleted: 0, ...waiting });
    expect(await collect()).toMatchObject({ deleted: 0, ...waiting });
    await backup.end();
    expect(await collect()).toMatchObject({ deleted: GARBAGE, plans_waiting: [] });
    expect(await deleted()).toBe(GARBAGE);
  });

  test("removes a lease that the store has not seen for a day, and no sooner", async () => {
    const { project, inner, clock, collect } = await setUp();
    await announce(project);
    clock.now += LEASE_DEAD_MS - 3600_000;
    expect(await collect()).toMatchObject({ dead_leases: 0, deleted: 0 });
    clock.now += 3600_000;
    expect(await collect()).toMatchObject({ dead_leases: 1, deleted: GARBAGE });
    expect(await keysOf(inner, LEASES)).toEqual([]);
  });

  test("reads no dead lease, and the living ones once", async () => {
    const { repository, project, inner, clock } = await setUp();
    for (let i = 0; i < 20; i++) await announce(project);
    clock.now += LEASE_DEAD_MS;
    const alive = await announce(project);
    const hooked = new HookedStore(inner, {});
    const report = await gc(through(repository, hooked), { ...WHOLE_PROJECT, ...AT_ONCE }, testContext());
    expect(report.dead_leases).toBe(20);
    const read = hooked.keys("get").filter((key) => key.startsWith(LEASES));
    // At the beginning, and once the plan is written.
    expect(new Set(read)).toContain(LEASES + alive.idHex);
    expect(read.filter((key) => key.endsWith(alive.idHex)).length).toBe(2);
    expect(new Set(read).size).toBe(2); // its own is the other one
  });
});

describe("gc() with a grace", () => {
  const graceMs = DAY_MS;

  test("condemns nothing that is younger, and deletes nothing before the grace is over", async () => {
    const { clock, collect, deleted } = await setUp();
    const at = (report: Partial<GcReport>) => expect.objectContaining(report);
    expect(await collect({ graceMs })).toEqual(
      at({ garbage: GARBAGE, young: GARBAGE, condemned: 0, deleted: 0 }),
    );
    clock.now += DAY_MS;
    expect(await collect({ graceMs })).toEqual(
      at({ young: 0, condemned: GARBAGE, deleted: 0, plans_waiting: [WAITING] }),
    );
    clock.now += DAY_MS - 3600_000;
    expect(await collect({ graceMs })).toEqual(at({ condemned: 0, deleted: 0, plans_waiting: [WAITING] }));
    clock.now += 3600_000;
    expect(await collect({ graceMs })).toEqual(at({ deleted: GARBAGE, plans_swept: 1, plans_waiting: [] }));
    expect(await deleted()).toBe(GARBAGE);
  });

  test("spares what a point refers to by then", async () => {
    const { repository, inner, clock, collect, deleted } = await setUp();
    clock.now += DAY_MS;
    const manifest = (await keysOf(inner, MANIFESTS))[0]!;
    const bytes = await inner.get(manifest);
    await inner.delete([manifest]);
    await collect({ graceMs }); // condemns all that there is
    await inner.put(manifest, bytes);
    clock.now += DAY_MS;
    expect(await collect({ graceMs })).toMatchObject({ deleted: GARBAGE, spared: 3 });
    expect(await deleted()).toBe(GARBAGE);
    expect(await isWhole(repository)).toBe(true);
  });

  test("never sweeps a plan that is older than eight days, and gives it up", async () => {
    const { inner, clock, collect, deleted } = await setUp();
    clock.now += DAY_MS;
    await collect({ graceMs });
    const plan = await keysOf(inner, PLANS);
    clock.now += 9 * DAY_MS;
    expect(await collect({ graceMs })).toMatchObject({ deleted: 0, plans_swept: 0 });
    expect(await keysOf(inner, PLANS)).toEqual(expect.arrayContaining(plan));
    // It goes on condemning for as long again, then what it condemned is found anew.
    clock.now += 9 * DAY_MS;
    expect(await collect({ graceMs })).toMatchObject({ deleted: 0, condemned: GARBAGE });
    clock.now += DAY_MS;
    expect(await collect({ graceMs })).toMatchObject({ deleted: GARBAGE });
    expect(await deleted()).toBe(GARBAGE);
  });

  test("does not sweep an old plan that somebody puts back", async () => {
    const { repository, inner, clock, collect } = await setUp();
    clock.now += DAY_MS;
    await collect({ graceMs });
    const plan = new Map(
      await Promise.all(
        (await keysOf(inner, PLANS)).map(async (key) => [key, await inner.get(key)] as const),
      ),
    );
    clock.now += DAY_MS;
    await collect({ graceMs });
    clock.now += 9 * DAY_MS;
    await collect({ graceMs });
    // What was deleted is stored again, and the plan would delete it under the feet of this backup.
    const content = noiseChunks(3, 4);
    const [report] = await backUp(repository, [{ sizeBytes: content.length, extents: [data(0, content)] }]);
    const manifest = (await keysOf(inner, MANIFESTS)).find((key) => key.endsWith(report!.backup))!;
    const bytes = await inner.get(manifest);
    await inner.delete([manifest]);
    for (const [key, bytes] of plan) await inner.put(key, bytes);
    await collect({ graceMs });
    await inner.put(manifest, bytes);
    expect(Buffer.compare(await bytesOf(repository, { point: report!.backup }), content)).toBe(0);
  });
});

describe("gc() that sees what looks like a mistake", () => {
  const careful = { force: false };

  test("condemns nothing where there is no point, and says so", async () => {
    const { inner, collect, deleted } = await setUp();
    await inner.delete(await keysOf(inner, MANIFESTS));
    expect(await collect(careful)).toMatchObject({
      condemned: 0,
      deleted: 0,
      stopped: expect.stringMatching(/no restore point/),
    });
    expect([await deleted(), await keysOf(inner, PLANS)]).toEqual([0, []]);
    expect(await collect()).toMatchObject({ condemned: 6, deleted: 6, stopped: null });
  });

  test("condemns nothing where more than half of the objects would go", async () => {
    const { repository, inner, collect, deleted } = await setUp();
    const more = noiseChunks(5, 6, 7);
    await backUp(repository, [{ sizeBytes: more.length, extents: [data(0, more)] }], { volume: "older" });
    await inner.delete(await keysOf(inner, `${MANIFESTS}older/`));
    const stopped = expect.stringMatching(
      /^Cannot collect "acme": 7 of 10 objects, more than half, .* --force/,
    );
    expect(await collect(careful)).toMatchObject({ condemned: 0, deleted: 0, stopped });
    expect([await deleted(), await keysOf(inner, PLANS)]).toEqual([-4, []]);
    expect(await collect()).toMatchObject({ condemned: 7, deleted: 7, stopped: null });
  });

  test("takes a half for no mistake", async () => {
    const { collect } = await setUp();
    expect(await collect(careful)).toMatchObject({ objects: 6, condemned: 3, deleted: 3, stopped: null });
  });

  test.each([0, DAY_MS])(
    "stops where points are gone that no forget took, with a grace of %d ms",
    async (graceMs) => {
      const { inner, clock, collect, deleted, repository } = await setUp();
      clock.now += DAY_MS;
      await collect({ graceMs });
      clock.now += DAY_MS;
      const [key] = await keysOf(inner, MANIFESTS);
      const bytes = await inner.get(key!);
      await inner.delete([key!]);
      const before = await deleted();
      const error = await errorOf(collect({ ...careful, graceMs }));
      const backup = key!.split("/").at(-1);
      expect([error.code, error.message]).toEqual([
        "damage",
        expect.stringContaining(`1 restore point seen at 2026-01-02T`),
      ]);
      expect(error.message).toContain(`"acme/rbd/vm-1@${backup}"`);
      expect(await deleted()).toBe(before);
      expect(await keysOf(inner, LEASES)).toEqual([]);
      await inner.put(key!, bytes);
      expect(await collect({ ...careful, graceMs })).toMatchObject({ stopped: null });
      expect(await isWhole(repository)).toBe(true);
      expect(await deleted()).toBe(GARBAGE);
    },
  );

  test("knows what a forget took", async () => {
    const { repository, inner, clock, collect, deleted } = await setUp();
    await collect();
    clock.now += DAY_MS;
    await forgetPoint(repository, { ...WHOLE_PROJECT, volume: "rbd/vm-1", point: "latest" }, testContext());
    expect((await keysOf(inner, FORGOTTEN)).length).toBe(1);
    expect(await collect({ force: true })).toMatchObject({ deleted: 3 });
    await backUp(repository, [{ sizeBytes: KEPT.length, extents: [data(0, KEPT)] }]);
    clock.now += 9 * DAY_MS;
    expect(await collect(careful)).toMatchObject({ stopped: null });
    // Nobody asks for it any more.
    expect(await keysOf(inner, FORGOTTEN)).toEqual([]);
    expect(await deleted()).toBeGreaterThan(0);
  });
});

describe("gc() that is told something wrong once", () => {
  /** The store answers the first listing of the manifests of a run wrongly. */
  async function lyingOnce(
    change: (keys: ObjectInfo[]) => ObjectInfo[],
    options: Partial<GcOptions> = {},
  ) {
    const parts = await setUp();
    let lies = 1;
    const store: Store = {
      ...through(parts.repository, new HookedStore(parts.inner, {})).store,
      url: "lying",
      get: (key, options) => parts.inner.get(key, options),
      put: (key, body, options) => parts.inner.put(key, body, options),
      head: (key, options) => parts.inner.head(key, options),
      folders: (prefix, options) => parts.inner.folders(prefix, options),
      delete: (keys, options) => parts.inner.delete(keys, options),
      close: () => parts.inner.close(),
      async *list(prefix, options) {
        const infos = await Array.fromAsync(parts.inner.list(prefix, options));
        yield* prefix === MANIFESTS && lies-- > 0 ? change(infos) : infos;
      },
    };
    const request = { ...WHOLE_PROJECT, ...AT_ONCE, ...options };
    const run = () => gc(through(parts.repository, store), request, testContext());
    return { ...parts, run };
  }

  test("reads a manifest that one listing left out", async () => {
    const { repository, run, deleted } = await lyingOnce(() => []);
    expect(await run()).toMatchObject({ deleted: GARBAGE });
    expect(await deleted()).toBe(GARBAGE);
    expect(await isWhole(repository)).toBe(true);
  });

  test("stops where a manifest is listed and then neither there nor forgotten", async () => {
    const ghost = "20260101T000000000Z-00000000";
    const { run, deleted } = await lyingOnce((infos) => [
      ...infos,
      { key: `${MANIFESTS}z/${ghost}`, sizeBytes: 1, modifiedMs: 0 },
    ]);
    expect((await errorOf(run())).message).toContain("no forget deleted it");
    expect(await deleted()).toBe(0);
  });
});

/** What can stand where a lease should: none of it says what runs. */
const UNREADABLE: Record<string, (project: Project) => Promise<void>> = {
  "is no object": (project) => project.store.put(`${LEASES}${LEASE_ID}`, utf8("hello")),
  "is empty": (project) => project.store.put(`${LEASES}${LEASE_ID}`, new Uint8Array()),
  "is sealed with a key that is gone": async (project) => {
    const other = await openProject(
      await newRepository(),
      { name: PROJECT, secrets: [] },
      testContext(),
    );
    await project.write(leaseObject(utf8("{}")), { keys: other.firstKey });
  },
  "is another's under its name": async (project) => {
    await announce(project);
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
  await project.write(leaseObject(utf8(text)), { keys: project.firstKey });
}

describe("gc() beside a lease that cannot be read", () => {
  test.each(Object.entries(UNREADABLE))(
    "says so and waits until it is a day old, when it %s",
    async (_, leave) => {
      const { repository, project, inner, clock, collect, warnings } = await setUp();
      await leave(project);
      const report = await collect();
      expect(report).toMatchObject({
        unreadable_leases: 1,
        garbage: GARBAGE,
        deleted: 0,
        plans_waiting: [WAITING],
      });
      expect(warnings).toEqual([{ lease: LEASE_ID, reason: expect.stringMatching(/^Cannot read ".*": /) }]);
      expect(await keysOf(inner, LEASES)).toEqual([`${LEASES}${LEASE_ID}`]);
      clock.now += LEASE_DEAD_MS;
      expect(await collect()).toMatchObject({ unreadable_leases: 0, dead_leases: 1, deleted: GARBAGE });
      expect(await keysOf(inner, LEASES)).toEqual([]);
      expect(await isWhole(repository)).toBe(true);
    },
  );

  test("sweeps a plan that does not wait for it", async () => {
    const { project, collect } = await setUp();
    const backup = await announce(project);
    await collect();
    await backup.end();
    await UNREADABLE["is no object"]!(project);
    expect(await collect()).toMatchObject({ plans_swept: 1, plans_waiting: [], deleted: GARBAGE });
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
    const backup = await announce(parts.project);
    await parts.collect();
    await backup.end();
    return { ...parts, plan: await keysOf(parts.inner, PLANS) };
  }

  /** It may have been swept by somebody who could read it: it condemns for eight days more. */
  async function isGivenUp({ inner, clock, collect, plan }: Awaited<ReturnType<typeof withPlan>>) {
    expect(await collect()).toMatchObject({ plans_swept: 0, deleted: 0 });
    expect(await keysOf(inner, PLANS)).toEqual(expect.arrayContaining([...plan]));
    clock.now += 9 * DAY_MS;
    expect(await collect()).toMatchObject({ plans_swept: 1, deleted: GARBAGE });
    for (const key of plan) expect(await inner.head(key)).toBeUndefined();
  }

  test.each(["garbage", ""])("gives up one whose head cannot be read: %j", async (text) => {
    const parts = await withPlan();
    await parts.inner.put(parts.plan.find((key) => key.endsWith("/head"))!, utf8(text));
    await isGivenUp(parts);
  });

  test.each(["{}", "null", '{"waits":[1],"made_ms":1}', "["])(
    "gives up one whose head says %s",
    async (text) => {
      const parts = await withPlan();
      const { project } = parts;
      const key = parts.plan.find((key) => key.endsWith("/head"))!;
      const object = {
        type: OBJECT_TYPE.planHead,
        name: key.slice(project.objectKey("").length),
        front: utf8(text),
        content: new Uint8Array(),
      };
      await project.write(object, { keys: project.firstKey });
      await isGivenUp(parts);
    },
  );

  test("removes what a collector left that died before it wrote the head", async () => {
    const { inner, collect, plan } = await withPlan();
    await inner.delete(plan.filter((key) => key.endsWith("/head")));
    expect(await collect()).toMatchObject({ plans_swept: 1, deleted: GARBAGE });
    for (const key of plan) expect(await inner.head(key)).toBeUndefined();
  });

  test("deletes nothing by a shard that cannot be read, and finds what it named again", async () => {
    const { repository, inner, clock, collect, plan } = await withPlan();
    const shard = plan.find((key) => !key.endsWith("/head"))!;
    await inner.put(shard, utf8("garbage"));
    expect(await collect()).toMatchObject({ plans_swept: 1, deleted: 0 });
    clock.now += 9 * DAY_MS;
    expect(await collect()).toMatchObject({ plans_swept: 1, deleted: GARBAGE });
    expect(await isWhole(repository)).toBe(true);
  });

  test("a backup under a shard that cannot be read stores anew what it may condemn", async () => {
    const { repository, inner, plan, collect, garbage } = await withPlan();
    for (const key of plan) await inner.put(key, utf8("garbage"));
    const content = noiseChunks(3, 4);
    await backUp(repository, [{ sizeBytes: content.length, extents: [data(0, content)] }], { volume: "new" });
    await inner.delete(garbage);
    expect(Buffer.compare(await bytesOf(repository, { volume: "new" }), content)).toBe(0);
    await collect();
    await collect();
    expect(Buffer.compare(await bytesOf(repository, { volume: "new" }), content)).toBe(0);
  });
});
