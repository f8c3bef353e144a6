/** Forgetting in a repository: what goes, what stays, and what happens when the store or another host is in the way. */
import { describe, expect, test } from "bun:test";
import { listBackups } from "../../../src/project/catalog.ts";
import { forget, type ForgetOptions, forgetPoint } from "../../../src/engine/retention/forget.ts";
import { hold } from "../../../src/engine/retention/hold.ts";
import { LEASE_TRUST_MS } from "../../../src/project/sharing/lease.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { StoreError, UsageError } from "../../../src/errors.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import {
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
  VOLUME,
} from "../../kit/engine.ts";
import { hooked, type StoreCall } from "../../kit/hooked_store.ts";
import { data } from "../../kit/memory_source.ts";
const HOUR_MS = 3600_000;
const HOLDS = `projects/${PROJECT}/holds/`;

/** A repository whose store's clock goes on by an hour with each point, and the ids of these. */
async function setUp(counts: Record<string, number> = { [VOLUME]: 3 }) {
  const clock = { now: Date.UTC(2026, 0, 1) };
  const inner = new MemoryStore({ now: () => clock.now });
  const repository = await newRepository(inner);
  const ids: string[] = [];
  for (const [volume, count] of Object.entries(counts)) {
    for (let i = 0; i < count; i++) ids.push(await addPoint(repository, volume, clock));
  }
  return { repository, inner, clock, ids };
}

async function addPoint(repository: Repository, volume: string, clock: { now: number }): Promise<string> {
  const bytes = noiseChunks(clock.now / HOUR_MS);
  clock.now += HOUR_MS;
  const [report] = await backUp(repository, [{ sizeBytes: CHUNK_BYTES, extents: [data(0, bytes)] }], {
    volume,
  });
  return report!.backup;
}

function keepLast(
  repository: Repository,
  last: number,
  more: Partial<ForgetOptions> = {},
  context = testContext(),
) {
  const policy = { counts: { last }, tags: [] };
  const limits = { timeZone: "UTC", maxDropPercent: 100, force: false };
  const options = {
    project: PROJECT,
    volume: VOLUME,
    policy,
    ...limits,
    dryRun: false,
    secrets: [],
    ...more,
  };
  return forget(repository, options, context);
}

async function idsOf(repository: Repository): Promise<string[]> {
  const backups = await listBackups(repository, { project: PROJECT, secrets: [] }, testContext());
  return backups.map(({ backup }) => backup);
}

function point(at: string, dryRun = false) {
  return { project: PROJECT, volume: VOLUME, point: at, dryRun, secrets: [] };
}

describe("forget()", () => {
  test("deletes the manifests that the policy does not keep, and nothing else", async () => {
    const { repository, inner, ids } = await setUp();
    const chunks = await keysOf(inner, CHUNKS);
    const { store, repository: seen } = hooked(repository);
    const rows = await keepLast(seen, 1);
    expect(rows.map(({ backup, kept }) => [backup, kept])).toEqual(ids.map((id, i) => [id, i === 2]));
    expect(store.keys("delete")[0]).toBe(
      ids.slice(0, 2).map((id) => `${MANIFESTS}${VOLUME}/${id}`).join(" "),
    );
    expect(await idsOf(repository)).toEqual(ids.slice(2));
    expect(await keysOf(inner, CHUNKS)).toEqual(chunks);
    expect(await keysOf(inner, LEASES)).toEqual([]);
    expect(await bytesOf(repository)).toHaveLength(CHUNK_BYTES);
  });

  test("tells the same and deletes nothing when it runs dry", async () => {
    const { repository, inner, ids } = await setUp();
    const before = await keysOf(inner, "");
    const rows = await keepLast(repository, 1, { dryRun: true });
    expect(await keysOf(inner, "")).toEqual(before);
    expect(await keepLast(repository, 1)).toEqual(rows);
    expect(await idsOf(repository)).toEqual(ids.slice(2));
  });

  test("takes each volume of the project by itself when none is named, and only the named one otherwise", async () => {
    const { repository, ids } = await setUp({ a: 2, "a/b": 3, c: 1 });
    await keepLast(repository, 1, { volume: "a" });
    expect(await idsOf(repository)).toEqual(ids.slice(1));
    await keepLast(repository, 1, { volume: undefined });
    expect(await idsOf(repository)).toEqual([ids[1]!, ids[4]!, ids[5]!]);
  });

  test("goes by the store's clock, so that a point of a clock that was wrong pushes none out", async () => {
    const { repository, clock, ids } = await setUp();
    const { now } = clock;
    clock.now = Date.UTC(2099, 0, 1);
    ids.push(await addPoint(repository, VOLUME, clock));
    clock.now = now;
    const rows = await keepLast(repository, 1);
    expect(rows.map(({ rules }) => rules)).toEqual([[], [], ["last"], ["in the future"]]);
  });

  test("goes on by the newest object's time, and leaves no lease, when the store refuses writes", async () => {
    const { repository, ids } = await setUp();
    const { repository: refusing } = hooked(repository, {
      before: ({ op }) => {
        if (op === "put") throw new StoreError("Cannot write: access denied", { retryable: false });
      },
    });
    const rows = await keepLast(refusing, 2);
    expect(rows.map(({ rules }) => rules)).toEqual([[], ["last"], ["last"]]);
    expect(await idsOf(repository)).toEqual(ids.slice(1));
  });

  test("deletes the others, and says why one stays, when the store refuses to delete it", async () => {
    const { repository, ids } = await setUp();
    const { repository: refusing } = hooked(repository, { refuse: (key) => key.endsWith(ids[0]!) });
    const rows = await keepLast(refusing, 1);
    expect(rows.map(({ problem }) => problem)).toEqual(["locked", null, null]);
    expect(await idsOf(repository)).toEqual([ids[0]!, ids[2]!]);
  });

  test("deletes nothing of a volume of which too many would go, and goes on with the others", async () => {
    const { repository, ids } = await setUp({ a: 5, b: 2 });
    const rows = await keepLast(repository, 1, { volume: undefined, maxDropPercent: 50 });
    expect(rows.map(({ problem }) => problem !== null)).toEqual([
      true,
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(await idsOf(repository)).toEqual([...ids.slice(0, 5), ids[6]!]);
  });

  test("keeps a manifest that cannot be read, and counts on the others", async () => {
    const { repository, inner, ids } = await setUp();
    await inner.put(`${MANIFESTS}${VOLUME}/${ids[2]}`, new Uint8Array(99));
    const rows = await keepLast(repository, 1);
    expect(rows.map(({ rules }) => rules)).toEqual([[], ["last"], ["unreadable"]]);
    expect(rows[2]!.problem).toStartWith("Cannot read ");
    expect(await keysOf(inner, MANIFESTS)).toEqual(ids.slice(1).map((id) => `${MANIFESTS}${VOLUME}/${id}`));
  });

  test("leaves out what another host forgets meanwhile, and so does a listing", async () => {
    const { repository, inner, ids } = await setUp();
    const gone = `${MANIFESTS}${VOLUME}/${ids[0]}`;
    const before = async ({ op, key }: StoreCall) => {
      if (op === "get" && key === gone) await inner.delete([gone]);
    };
    expect(await idsOf(hooked(repository, { before }).repository)).toEqual(ids.slice(1));
    await inner.put(gone, await inner.get(`${MANIFESTS}${VOLUME}/${ids[1]}`));
    const rows = await keepLast(hooked(repository, { before }).repository, 1);
    expect(rows.map(({ backup }) => backup)).toEqual(ids.slice(1));
  });

  test("reads the holds after its lease is written, and deletes before that is removed", async () => {
    const { repository } = await setUp();
    const { store, repository: seen } = hooked(repository);
    await keepLast(seen, 1);
    const calls = store.calls.map(({ op, key }) =>
      `${op} ${key.replace(`projects/${PROJECT}/`, "").split("/")[0]}`
    );
    const [lease, holds, volumes] = ["put leases", "list holds", "list volumes"];
    const [taken, gone] = ["put forgotten", "delete volumes"];
    const order = [lease, holds, holds, volumes, volumes, taken, gone, volumes, "delete leases"];
    expect(calls.filter((call) => order.includes(call))).toEqual(order);
  });

  test("deletes nothing when its host stood still until the lease may be taken for dead", async () => {
    const { repository, ids } = await setUp();
    let now = 0;
    const { repository: slow } = hooked(repository, {
      after: ({ op, key }) => {
        if (op === "get" && key.startsWith(MANIFESTS)) now = LEASE_TRUST_MS;
      },
    });
    const context = testContext();
    const clock = { ...context.clock, now: () => now };
    const error = await errorOf(keepLast(slow, 1, {}, { ...context, clock }));
    expect(error.code).toBe("conflict");
    expect(await idsOf(repository)).toEqual(ids);
  });

  test("throws before it opens anything when nothing says what stays", async () => {
    const { repository } = await setUp();
    const { store, repository: seen } = hooked(repository);
    const policy = { counts: {}, tags: ["t"] };
    expect(await errorOf(keepLast(seen, 1, { policy }))).toBeInstanceOf(UsageError);
    expect(store.calls).toEqual([]);
  });

  test("throws when the volume has no backups, or the time zone is none", async () => {
    const { repository, ids } = await setUp();
    expect((await errorOf(keepLast(repository, 1, { volume: "other" }))).message).toContain(
      "no restore points",
    );
    expect((await errorOf(keepLast(repository, 1, { timeZone: "Mars" }))).code).toBe("usage");
    expect(await idsOf(repository)).toEqual(ids);
  });
});

describe("forgetPoint()", () => {
  test("drops that one point", async () => {
    const { repository, ids } = await setUp();
    const [row, ...others] = await forgetPoint(repository, point("~1"), testContext());
    expect([row!.backup, row!.kept, row!.problem, others]).toEqual([ids[1]!, false, null, []]);
    expect(await idsOf(repository)).toEqual([ids[0]!, ids[2]!]);
  });

  test("drops nothing when it runs dry", async () => {
    const { repository, ids } = await setUp();
    expect(await forgetPoint(repository, point("~1", true), testContext())).toHaveLength(1);
    expect(await idsOf(repository)).toEqual(ids);
  });

  test("drops a point that cannot be read when it is named by its id", async () => {
    const { repository, inner, ids } = await setUp();
    await inner.put(`${MANIFESTS}${VOLUME}/${ids[1]}`, new Uint8Array(99));
    await forgetPoint(repository, point(ids[1]!), testContext());
    expect(await idsOf(repository)).toEqual([ids[0]!, ids[2]!]);
  });

  test("refuses a point that is held", async () => {
    const { repository, inner, ids } = await setUp();
    await hold(repository, { ...point(ids[1]!), reason: null }, testContext());
    expect(await keysOf(inner, HOLDS)).toHaveLength(1);
    const error = await errorOf(forgetPoint(repository, point("~1"), testContext()));
    expect([error.code, error.message]).toEqual(["failed", expect.stringContaining("varve release")]);
    expect(await idsOf(repository)).toEqual(ids);
  });

  test("drops nothing when its host stood still until the lease may be taken for dead", async () => {
    const { repository, ids } = await setUp();
    let now = 0;
    const { repository: slow } = hooked(repository, {
      after: ({ op, key }) => {
        if (op === "head" && key.startsWith(HOLDS)) now = LEASE_TRUST_MS;
      },
    });
    const context = testContext();
    const clock = { ...context.clock, now: () => now };
    expect((await errorOf(forgetPoint(slow, point("~1"), { ...context, clock }))).code).toBe("conflict");
    expect(await idsOf(repository)).toEqual(ids);
  });

  test("says why the point stays when the store refuses to delete it", async () => {
    const { repository } = await setUp();
    const { repository: refusing } = hooked(repository, { refuse: (key) => key.startsWith(MANIFESTS) });
    expect((await forgetPoint(refusing, point("latest"), testContext()))[0]!.problem).toBe("locked");
  });
});
