/** Holds: what they say, what hinders them, and that no order of calls loses one to a forget. */
import { beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { listBackups, showBackup } from "../../../src/project/catalog.ts";
import { forget } from "../../../src/engine/retention/forget.ts";
import { hold, release } from "../../../src/engine/retention/hold.ts";
import { Lease, LEASE_DEAD_MS } from "../../../src/project/sharing/lease.ts";
import { openProject } from "../../../src/project/open_project.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { holdName } from "../../../src/format/layout.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import {
  backUp,
  CHUNK_BYTES,
  errorOf,
  keysOf,
  LEASES,
  MANIFESTS,
  newRepository,
  PROJECT,
  testContext,
  VOLUME,
} from "../../kit/engine.ts";
import { hooked } from "../../kit/hooked_store.ts";
/** For many runs on a busy machine. */
const LIMIT_MS = 60_000;
const HOLDS = `projects/${PROJECT}/holds/`;

/** A repository with three points, and the store's clock. */
async function setUp() {
  const clock = { now: Date.UTC(2026, 0, 1) };
  const inner = new MemoryStore({ now: () => clock.now += 1000 });
  const repository = await newRepository(inner);
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) {
    const [report] = await backUp(repository, [{ to: `s${i}`, sizeBytes: CHUNK_BYTES, extents: [] }]);
    ids.push(report!.backup);
  }
  return { repository, inner, clock, ids };
}

function holdPoint(repository: Repository, point: string, reason: string | null = null) {
  return hold(repository, { ...at(point), reason }, testContext());
}

function releasePoint(repository: Repository, point: string) {
  return release(repository, at(point), testContext());
}

function at(point: string) {
  return { project: PROJECT, volume: VOLUME, point, secrets: [] };
}

function forgetAllButOne(repository: Repository) {
  const policy = { counts: { last: 1 }, tags: [] };
  const limits = { timeZone: "UTC", maxDropPercent: 100, force: false };
  const options = { project: PROJECT, volume: VOLUME, policy, ...limits, dryRun: false, secrets: [] };
  return forget(repository, options, testContext());
}

/** Announces a forget that never ends. */
async function announceForget(repository: Repository, volume: string): Promise<void> {
  const project = await openProject(
    repository,
    { name: PROJECT, secrets: [] },
    testContext(),
  );
  await Lease.begin(project, { work: "forget", volume }, testContext({ host: "host-1" }));
}

async function heldOf(repository: Repository): Promise<boolean[]> {
  return (await listBackups(repository, { project: PROJECT, secrets: [] }, testContext())).map((
    { held },
  ) => held);
}

describe("hold()", () => {
  test("keeps a point from being forgotten until it is released", async () => {
    const { repository, ids } = await setUp();
    await holdPoint(repository, "s0");
    const rows = await forgetAllButOne(repository);
    expect(rows.map(({ rules }) => rules)).toEqual([["held"], [], ["last"]]);
    await releasePoint(repository, "s0");
    await forgetAllButOne(repository);
    expect(await keysOf(repository.store, MANIFESTS)).toEqual([`${MANIFESTS}${VOLUME}/${ids[2]}`]);
  });

  test("is told by a listing and by show, with the last reason that was given", async () => {
    const { repository, ids } = await setUp();
    const show = async (point: string) => {
      const { held, hold_reason } = await showBackup(repository, at(point), testContext());
      return { held, hold_reason };
    };
    const report = await holdPoint(repository, "~1", "case 4711");
    expect(report).toEqual({
      project: PROJECT,
      volume: VOLUME,
      backup: ids[1]!,
      held: true,
      hold_reason: "case 4711",
    });
    expect(await heldOf(repository)).toEqual([false, true, false]);
    expect(await show("~1")).toEqual({ held: true, hold_reason: "case 4711" });
    expect(await show("~0")).toEqual({ held: false, hold_reason: null });
    const again = await holdPoint(repository, "~1");
    expect(again).toMatchObject({ hold_reason: null, former_reason: "case 4711" });
    expect(await show("~1")).toEqual({ held: true, hold_reason: null });
    expect((await holdPoint(repository, "~1")).former_reason).toBeUndefined();
  });

  test("costs a listing one request", async () => {
    const { repository } = await setUp();
    await holdPoint(repository, "~0");
    await holdPoint(repository, "~1");
    const { store, repository: seen } = hooked(repository);
    await listBackups(seen, { project: PROJECT, secrets: [] }, testContext());
    expect(store.calls.filter(({ key }) => key.startsWith(HOLDS))).toEqual([{ op: "list", key: HOLDS }]);
  });

  test("holds even when its object was damaged", async () => {
    const { repository, inner, ids } = await setUp();
    await inner.put(`projects/${PROJECT}/${holdName(VOLUME, ids[0]!)}`, new Uint8Array(3));
    expect(await heldOf(repository)).toEqual([true, false, false]);
    expect((await forgetAllButOne(repository))[0]!.rules).toEqual(["held"]);
    expect((await errorOf(showBackup(repository, at("s0"), testContext()))).code).toBe("damage");
  });

  test("throws conflict and leaves no hold when the point was forgotten meanwhile", async () => {
    const { repository, inner, ids } = await setUp();
    const { repository: late } = hooked(repository, {
      before: async ({ op, key }) => {
        if (op === "put" && key.startsWith(HOLDS)) await inner.delete([`${MANIFESTS}${VOLUME}/${ids[0]}`]);
      },
    });
    const error = await errorOf(holdPoint(late, ids[0]!));
    expect([error.code, error.message]).toEqual([
      "conflict",
      expect.stringContaining("it has just been forgotten"),
    ]);
    expect(await keysOf(inner, HOLDS)).toEqual([]);
  });

  test.each([VOLUME, "*"])(
    "throws conflict while a forget of %s runs that may not have seen it",
    async (volume) => {
      const { repository } = await setUp();
      await announceForget(repository, volume);
      const error = await errorOf(holdPoint(repository, "s0"));
      expect([error.code, error.message]).toEqual(["conflict", expect.stringContaining('"host-1"')]);
      expect(await heldOf(repository)).toEqual([true, false, false]);
    },
  );

  test("throws conflict while there is a lease that cannot be read, for a day", async () => {
    const { repository, inner, clock } = await setUp();
    await inner.put(`${LEASES}${"5e".repeat(16)}`, new Uint8Array(3));
    const error = await errorOf(holdPoint(repository, "s0"));
    expect([error.code, error.message]).toEqual(["conflict", expect.stringContaining("is unreadable")]);
    expect(await heldOf(repository)).toEqual([true, false, false]);
    clock.now += LEASE_DEAD_MS;
    await holdPoint(repository, "s0");
  });

  test("is not hindered by a forget of another volume, nor by a dead one, which it buries first", async () => {
    const { repository, inner, clock } = await setUp();
    await announceForget(repository, "other");
    await holdPoint(repository, "s0");
    const others = await keysOf(inner, LEASES);
    await announceForget(repository, VOLUME);
    clock.now += LEASE_DEAD_MS;
    await holdPoint(repository, "s1");
    expect(await keysOf(inner, LEASES)).toEqual(others);
  });

  test("throws conflict where a dead forget cannot be buried: it may wake up", async () => {
    const { repository, clock } = await setUp();
    await announceForget(repository, VOLUME);
    clock.now += LEASE_DEAD_MS;
    const { repository: locked } = hooked(repository, { refuse: (key) => key.startsWith(LEASES) });
    expect((await errorOf(holdPoint(locked, "s1"))).code).toBe("conflict");
  });

  test(
    "loses no point to a forget once it has said that it is held, in any order of their calls",
    async () => {
      const pace = fc.array(fc.nat(6), { minLength: 3, maxLength: 9 });
      const seen = { held: 0, refused: 0 };
      await fc.assert(fc.asyncProperty(pace, pace, fc.nat(60), async (first, second, headStart) => {
        const { repository, ids } = await setUp();
        const holding = holdPoint(slow(repository, first), ids[0]!).then(() => true, () => false);
        await turn(headStart);
        await forgetAllButOne(slow(repository, second));
        const held = await holding;
        const stays = (await keysOf(repository.store, MANIFESTS)).includes(`${MANIFESTS}${VOLUME}/${ids[0]}`);
        if (held) expect(stays).toBe(true);
        seen[held ? "held" : "refused"]++;
      }));
      expect(Math.min(seen.held, seen.refused)).toBeGreaterThan(5); // else the paces try nothing
    },
    LIMIT_MS,
  );
});

/** A host's way to the store that holds on before each call for some turns of the event loop. */
function slow(repository: Repository, turns: readonly number[]): Repository {
  let call = 0;
  return hooked(repository, {
    before: () => turn(turns[call++ % turns.length]!),
  }).repository;
}

/** Lets others go on for some turns of the event loop. */
async function turn(count: number): Promise<void> {
  for (let left = count; left > 0; left--) await new Promise(setImmediate);
}

describe("release()", () => {
  let repository: Repository;
  beforeAll(async () => void ({ repository } = await setUp()));

  test("throws when the point is not held", async () => {
    const error = await errorOf(releasePoint(repository, "s1"));
    expect([error.code, error.message]).toEqual(["failed", expect.stringContaining("it is not held")]);
  });

  test("throws when the store refuses to delete the hold", async () => {
    await holdPoint(repository, "s2");
    const { repository: refusing } = hooked(repository, { refuse: (key) => key.startsWith(HOLDS) });
    expect((await errorOf(releasePoint(refusing, "s2"))).message).toEndWith(": locked");
    expect(await heldOf(repository)).toEqual([false, false, true]);
  });

  test("removes the hold of a point that is no more when it is named by its id", async () => {
    const { backup } = await holdPoint(repository, "s0");
    await repository.store.delete([`${MANIFESTS}${VOLUME}/${backup}`]);
    expect(await releasePoint(repository, backup)).toMatchObject({ backup, held: false });
    expect((await keysOf(repository.store, HOLDS)).some((key) => key.endsWith(backup))).toBe(false);
  });
});
