/** What a gc plan condemns is as good as gone: a backup stores it anew under a key of its own. docs/gc.md. */
import { describe, expect, test } from "bun:test";
import { DamageError, describeError, InterruptedError, StoreError } from "../../../src/errors.ts";
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
  newStore,
  noise,
  noiseChunks,
  PROJECT,
  testContext,
  through,
} from "../../kit/engine.ts";
import { HookedStore, type StoreHooks } from "../../kit/hooked_store.ts";
import { data, type TestDiff } from "../../kit/memory_source.ts";
import { chunkKeys, condemn } from "../../kit/plans.ts";

const VOLUME = noiseChunks(1, 2, 3);
const FULL: TestDiff = { to: "a", sizeBytes: VOLUME.length, extents: [data(0, VOLUME)] };
/** Changes the first chunk alone. */
const NEXT: TestDiff = { from: "a", sizeBytes: VOLUME.length, extents: [data(0, noise(9, CHUNK_BYTES))] };
const AFTER_NEXT = noiseChunks(9, 2, 3);
const NOTHING: TestDiff = { from: "a", sizeBytes: VOLUME.length, extents: [] };
const PLANS = `projects/${PROJECT}/gc/`;

async function setUp(hooks: StoreHooks = {}) {
  const inner = newStore();
  const repository = await newRepository(inner);
  await backUp(repository, [FULL]);
  const keys = await chunkKeys(repository);
  const store = new HookedStore(inner, hooks);
  return { inner, repository, keys, store, hooked: through(repository, store) };
}

/** Runs the backup under a plan, sweeps what the plan condemned, and checks that the new point is whole. */
async function survives(
  condemned: (keys: string[]) => string[],
  next: { diff: TestDiff; volume: Uint8Array },
) {
  const { inner, repository, keys, store, hooked } = await setUp();
  const swept = condemned(keys);
  await condemn(repository, swept);
  const [report] = await backUp(hooked, [next.diff]);
  await inner.delete(swept);
  const restored = await bytesOf(repository, { point: report!.backup });
  expect(Buffer.compare(restored, next.volume)).toBe(0);
  const puts = store.keys("put");
  const lease = puts.find((key) => key.startsWith(LEASES))!.slice(LEASES.length);
  const downloaded = store.keys("get").filter((key) => key.startsWith(CHUNKS));
  return { swept, uploaded: puts.filter((key) => key.startsWith(CHUNKS)), downloaded, lease };
}

/** Keys without the suffix of a lease. */
function plain(keys: readonly string[]): string[] {
  return keys.map((key) => key.split(".")[0]!).sort();
}

describe("backup() under a gc plan", () => {
  test("stores what is condemned under the suffix of its lease, when the stream has it", async () => {
    const { swept, uploaded, downloaded, lease } = await survives((keys) => keys, {
      diff: FULL,
      volume: VOLUME,
    });
    // Not one of the old keys is used; the page says so and is another one, that nobody condemned.
    expect(uploaded.length).toBe(4);
    for (const key of uploaded) expect(swept).not.toContain(key);
    const suffixed = uploaded.filter((key) => key.endsWith(`.${lease}`));
    expect(plain(suffixed).filter((key) => swept.includes(key)).length).toBe(3);
    // Only the page: the content is in the stream.
    expect(downloaded.length).toBe(1);
  });

  test("does so with what only the base refers to", async () => {
    const { swept, uploaded, lease } = await survives((keys) => keys, { diff: NEXT, volume: AFTER_NEXT });
    // The two chunks of the base, the new one and the page.
    expect(uploaded.length).toBe(4);
    expect(uploaded.filter((key) => key.endsWith(`.${lease}`)).length).toBe(2);
    for (const key of uploaded) expect(swept).not.toContain(key);
  });

  test("does so with each single chunk or page", async () => {
    for (const i of [0, 1, 2, 3]) {
      const { swept, uploaded, lease } = await survives((keys) => [keys[i]!], {
        diff: NOTHING,
        volume: VOLUME,
      });
      // A chunk, and the page that names it by its new key; or the page alone, unchanged.
      const again = `${swept[0]}.${lease}`;
      expect(uploaded).toContain(again);
      expect(uploaded.length).toBeLessThanOrEqual(2);
    }
  });

  test("uploads nothing when the plan condemns none of its chunks", async () => {
    const { repository, keys, store, hooked } = await setUp();
    const other = { sizeBytes: CHUNK_BYTES, extents: [data(0, noise(7, CHUNK_BYTES))] };
    await backUp(repository, [other], { volume: "other" });
    await condemn(repository, (await chunkKeys(repository)).filter((key) => !keys.includes(key)));
    for (const diff of [FULL, NOTHING]) await backUp(hooked, [diff]);
    expect(store.keys("put").filter((key) => key.startsWith(CHUNKS))).toEqual([]);
  });

  test("leaves what the volume has no more", async () => {
    const { repository, keys, store, hooked } = await setUp();
    await condemn(repository, keys);
    await backUp(hooked, [{ ...NOTHING, sizeBytes: CHUNK_BYTES }]);
    // The first chunk and its page.
    expect(store.keys("put").filter((key) => key.startsWith(CHUNKS)).length).toBe(2);
    expect(Buffer.compare(await bytesOf(repository), noiseChunks(1))).toBe(0);
  });

  test("takes a shard that vanishes before it is read for one that condemned everything it could", async () => {
    const hooks: StoreHooks = {
      before: async ({ op, key }) => {
        if (op === "get" && key.startsWith(PLANS)) await inner.delete([key]);
      },
    };
    const { inner, repository, keys, store, hooked } = await setUp(hooks);
    await condemn(repository, keys);
    await backUp(hooked, [NOTHING]);
    await inner.delete(keys);
    expect(Buffer.compare(await bytesOf(repository), VOLUME)).toBe(0);
    expect(store.keys("put").filter((key) => key.startsWith(CHUNKS)).length).toBe(4);
  });

  test("goes back to the plain key when the one with a suffix is condemned", async () => {
    const { inner, repository, keys } = await setUp();
    await condemn(repository, keys);
    await backUp(repository, [{ ...NOTHING, to: "b" }]);
    // The sweep: the condemned keys go, then the plan. The second plan condemns what the backup stored.
    await inner.delete([...keys, ...(await Array.fromAsync(inner.list(PLANS))).map(({ key }) => key)]);
    const suffixed = await chunkKeys(repository);
    await condemn(repository, suffixed);
    await backUp(repository, [{ ...NOTHING, from: "b" }]);
    await inner.delete(suffixed);
    expect(Buffer.compare(await bytesOf(repository), VOLUME)).toBe(0);
  });

  test("uploads a condemned chunk once, however many positions have it", async () => {
    const { repository, keys, store, hooked } = await setUp();
    await condemn(repository, keys);
    const volume = noiseChunks(1, 1, 2, 1, 1);
    await backUp(hooked, [{ sizeBytes: volume.length, extents: [data(0, volume)] }]);
    const puts = store.keys("put").filter((key) => key.startsWith(CHUNKS));
    // Two chunks and a page.
    expect([puts.length, new Set(puts).size]).toEqual([3, 3]);
  });

  test("says conflict when the base is forgotten and swept under it", async () => {
    let chunks: string[] = [];
    const { inner, repository, keys, hooked }: Awaited<ReturnType<typeof setUp>> = await setUp({
      before: async ({ op, key }) => {
        if (op !== "get" || !chunks.includes(key)) return;
        await inner.delete([...chunks, ...await keysOf(inner, MANIFESTS)]);
      },
    });
    chunks = await chunksOnly(repository, keys);
    await condemn(repository, keys);
    const error = await errorOf(backUp(hooked, [NOTHING]));
    expect(error.code).toBe("conflict");
    expect(error.message).toContain("its base was forgotten while it was running; retry");
  });

  test("says what is missing when the base is there and its chunks are not", async () => {
    const { inner, repository, keys } = await setUp();
    await condemn(repository, keys);
    await inner.delete(await chunksOnly(repository, keys));
    const error = await errorOf(backUp(repository, [NOTHING]));
    expect(error).toBeInstanceOf(DamageError);
    expect(describeError(error)).toContain("no such object");
  });

  test("says what it is when keeping the base fails for another reason", async () => {
    const stop = new AbortController();
    const failures = [new StoreError("Service unavailable", { retryable: true }), new InterruptedError()];
    for (const failure of failures) {
      let chunks: string[] = [];
      const { repository, keys, hooked, inner } = await setUp({
        before: ({ op, key }) => {
          if (op !== "get" || !chunks.includes(key)) return;
          if (failure instanceof InterruptedError) stop.abort(failure);
          else throw failure;
        },
      });
      chunks = await chunksOnly(repository, keys);
      await condemn(repository, keys);
      const context = testContext({ signal: stop.signal });
      expect(await errorOf(backUp(hooked, [NOTHING], { context }))).toBe(failure);
      expect((await Array.fromAsync(inner.list(MANIFESTS))).length).toBe(1);
    }
  });
});

/** The chunks among these, without the page: it is the smallest. */
async function chunksOnly(
  repository: Parameters<typeof chunkKeys>[0],
  keys: readonly string[],
): Promise<string[]> {
  const sized = await Promise.all(keys.map(async (key) => (await repository.store.head(key))!));
  return sized.filter(({ sizeBytes }) => sizeBytes > CHUNK_BYTES).map(({ key }) => key);
}
