/** What a backup takes for present: what the store said in this run, of a size that can be. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PAGE_CHUNKS } from "../../../src/format/limits.ts";
import { OBJECT_TYPE, objectType } from "../../../src/format/object.ts";
import { DamageError, describeError, StoreError } from "../../../src/errors.ts";
import type { Context } from "../../../src/context.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { CHUNKS_PREFIX, MARKED_PREFIX } from "../../../src/format/layout.ts";
import { OtherBytesError } from "../../../src/store/s3/answers.ts";
import type { RequestOptions, Store } from "../../../src/store/store.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  keysOf,
  MANIFESTS,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  testContext,
  through,
} from "../../kit/engine.ts";
import { flipBit } from "../../kit/damage.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { data, type TestDiff } from "../../kit/memory_source.ts";

const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

/** A context with a cache of its own, and what it warns of. */
async function listener(): Promise<{ context: Context; warnings: string[] }> {
  const cacheRoot = await mkdtemp(join(tmpdir(), "varve-reuse-"));
  folders.push(cacheRoot);
  const warnings: string[] = [];
  const { log } = testContext();
  return {
    context: testContext({ cacheRoot, log: { ...log, warn: (_, text) => void warnings.push(text) } }),
    warnings,
  };
}

function full(volume: Uint8Array, to = "a"): TestDiff {
  return { to, sizeBytes: volume.length, extents: [data(0, volume)] };
}

const VOLUME = noiseChunks(1, 2, 3, 4, 5);
/** One block of the chunk at position 2. */
const WRITE = data(2 * CHUNK_BYTES + 4096, noise(9, 4096));
const WRITTEN = Uint8Array.from(VOLUME);
WRITTEN.set(WRITE.data!, WRITE.offset);
const INCREMENT: TestDiff = { from: "a", to: "b", sizeBytes: VOLUME.length, extents: [WRITE] };

/** A full backup and an increment that is a patch, made by a host that remembers all of it. */
async function setUp() {
  const store = newStore();
  const repository = await newRepository(store);
  const { context, warnings } = await listener();
  await backUp(repository, [full(VOLUME)], { context });
  const chunks = await keysOf(store, CHUNKS);
  await backUp(repository, [INCREMENT], { context });
  return { store, repository, context, warnings, chunks };
}

async function keysOfType(store: Store, type: number): Promise<string[]> {
  const keys = await keysOf(store, CHUNKS);
  const types = await Promise.all(keys.map(async (key) => objectType(await store.get(key))));
  return keys.filter((_, at) => types[at] === type);
}

async function expectWhole(repository: Repository, bytes: Uint8Array, point?: string): Promise<void> {
  expect(Buffer.compare(await bytesOf(repository, point === undefined ? {} : { point }), bytes)).toBe(0);
}

describe("backup() of a full stream by a host that remembers all", () => {
  test.each([
    ["is gone", async (store: Store, key: string) => void await store.delete([key])],
    ["is empty", (store: Store, key: string) => store.put(key, new Uint8Array(0))],
    ["is cut", async (store: Store, key: string) => store.put(key, (await store.get(key)).subarray(0, 90))],
    ["is too long", async (store: Store, key: string) => store.put(key, new Uint8Array(2 * CHUNK_BYTES))],
  ])("stores again each object that %s", async (_, damage) => {
    for (const type of [OBJECT_TYPE.chunk, OBJECT_TYPE.patch, OBJECT_TYPE.page]) {
      const { store, repository, context } = await setUp();
      for (const key of await keysOfType(store, type)) await damage(store, key);
      await backUp(repository, [full(WRITTEN, "c")], { context });
      await expectWhole(repository, WRITTEN);
    }
  });

  test("uploads nothing where all is there", async () => {
    const { store, repository, context } = await setUp();
    const hooked = new HookedStore(store);
    await backUp(through(repository, hooked), [full(WRITTEN, "c")], { context });
    expect(hooked.keys("put").filter((key) => key.startsWith(CHUNKS))).toEqual([]);
  });

  test("makes a patch only over what is there", async () => {
    const { store, repository, context, chunks } = await setUp();
    await store.delete(chunks);
    const bytes = Uint8Array.from(WRITTEN);
    bytes.set(noise(10, 4096), 3 * CHUNK_BYTES);
    await backUp(repository, [full(bytes, "c")], { context });
    await expectWhole(repository, bytes);
  });

  test("writes over what was found damaged, though it is there", async () => {
    const { store, repository, context, chunks } = await setUp();
    const damaged = await keysOfType(store, OBJECT_TYPE.chunk);
    for (const key of damaged) {
      await store.put(key, flipBit(await store.get(key), 8 * 2000));
      await store.put(
        markOf(key),
        new Uint8Array(0),
      );
    }
    expect(damaged.length).toBe(chunks.length - 1);
    await backUp(repository, [full(VOLUME, "c")], { context });
    for (const [point, bytes] of [["a", VOLUME], ["b", WRITTEN], ["c", VOLUME]] as const) {
      await expectWhole(repository, bytes, point);
    }
  });
});

describe("backup() by a host that remembers nothing", () => {
  test.each([
    ["missing", async (store: Store, key: string) => void await store.delete([key])],
    ["damaged", async (store: Store, key: string) => store.put(key, flipBit(await store.get(key), 8 * 50))],
  ])("stores a full stream where every page of the latest is %s, and says so", async (_, damage) => {
    const { store, repository } = await setUp();
    for (const key of await keysOfType(store, OBJECT_TYPE.page)) await damage(store, key);
    const { context, warnings } = await listener();
    // Another volume of content: the same pages would heal the old points.
    const bytes = Uint8Array.from(WRITTEN);
    bytes.set(noise(11, CHUNK_BYTES), 0);
    const [report] = await backUp(repository, [full(bytes, "c")], { context });
    expect(report!.chunks).toMatchObject({ total: 5, new: 2, reused: 3 });
    expect(warnings).toEqual([expect.stringContaining("its chunks are looked up one by one")]);
    await expectWhole(repository, bytes);
  });

  test("fails with damage where an increment needs such a page, and says what to do", async () => {
    const { store, repository } = await setUp();
    await store.delete(await keysOfType(store, OBJECT_TYPE.page));
    const before = await keysOf(store, MANIFESTS);
    const error = await errorOf(backUp(repository, [{ ...INCREMENT, from: "b", to: "c" }]));
    expect(error).toBeInstanceOf(DamageError);
    const id = before[1]!.slice(before[1]!.lastIndexOf("/") + 1);
    expect(error.message).toBe(
      `Cannot back up "acme/rbd/vm-1": an object of the base "acme/rbd/vm-1@${id}" cannot be read; ` +
        `back up in full, or run "varve repair acme"`,
    );
    expect(await keysOf(store, MANIFESTS)).toEqual(before);
  });

  test("stores an increment that needs none of the pages that are missing", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    const sizeBytes = (PAGE_CHUNKS + 1) * CHUNK_BYTES;
    const last = PAGE_CHUNKS * CHUNK_BYTES;
    const extents = [data(0, noiseChunks(1)), data(last, noiseChunks(2))];
    await backUp(repository, [{ to: "a", sizeBytes, extents }]);
    const [one, other] = await keysOfType(store, OBJECT_TYPE.page) as [string, string];
    let stored = 0;
    for (const key of [one, other]) {
      const bytes = await store.get(key);
      await store.delete([key]);
      const next = { from: "a", to: "b", sizeBytes, extents: [data(0, noiseChunks(3))] };
      stored += await backUp(repository, [next]).then(() => 1, () => 0);
      await store.put(key, bytes);
    }
    expect(stored).toBe(1);
  });
});

describe("backup() of an increment", () => {
  test("says how much of its base was found damaged, and that a full backup heals it", async () => {
    const { store, repository, context, warnings } = await setUp();
    const chunks = await keysOfType(store, OBJECT_TYPE.chunk);
    for (const key of chunks) {
      await store.put(markOf(key), new Uint8Array(0));
    }
    await backUp(repository, [{ ...INCREMENT, from: "b", to: "c", extents: [data(0, noiseChunks(8))] }], {
      context,
    });
    const id = (await keysOf(store, MANIFESTS))[1]!.split("/").at(-1);
    expect(warnings).toEqual([
      `the base "acme/rbd/vm-1@${id}" and the new restore point refer to 4 damaged chunks; ` +
      `back up "acme/rbd/vm-1" in full to repair them`,
    ]);
  });

  test("asks for nothing that it does not touch", async () => {
    const { store, repository, context, chunks } = await setUp();
    const hooked = new HookedStore(store);
    await backUp(through(repository, hooked), [{ ...INCREMENT, from: "b", to: "c" }], { context });
    const asked = hooked.calls.filter(({ op, key }) => op !== "put" && chunks.includes(key));
    expect(asked).toEqual([]);
  });
});

describe("backup() into a store that says it stored what it did not", () => {
  class Liar extends HookedStore {
    lies = 0;
    /** What of the bytes is kept; nothing without it. */
    kept: ((bytes: Uint8Array) => Uint8Array) | undefined;

    override async put(key: string, body: Uint8Array, options?: RequestOptions): Promise<void> {
      if (!key.startsWith(CHUNKS) || this.lies-- <= 0) return await super.put(key, body, options);
      if (this.kept !== undefined) await super.put(key, this.kept(body), options);
    }
  }

  test.each([
    ["a full stream", [full(VOLUME)], undefined],
    ["a full stream, and kept half", [full(VOLUME)], (bytes: Uint8Array) => bytes.subarray(9)],
    ["an increment", [{ ...INCREMENT, from: "b", to: "c", extents: [data(0, noise(5, 4096))] }], undefined],
  ])("fails and writes no manifest: %s", async (_, source, kept) => {
    for (const lies of [1, 2]) {
      const { store, repository } = await setUp();
      await store.delete(await keysOf(store, CHUNKS).then((keys) => kept === undefined ? [] : keys));
      const before = await keysOf(store, MANIFESTS);
      const liar = Object.assign(new Liar(store), { lies, kept });
      const isNew = source[0]!.from === undefined;
      const options = isNew ? { volume: "other" } : {};
      const changed = isNew ? [full(noiseChunks(21, 22, 23))] : source;
      const error = await errorOf(backUp(through(repository, liar), changed, options));
      expect(error).toBeInstanceOf(StoreError);
      expect(describeError(error)).toMatch(/it reported "projects.acme.chunks.*retry$/);
      expect(await keysOf(store, MANIFESTS)).toEqual(before);
      await backUp(repository, changed, options);
    }
  });

  test("is not believed by the next backup where it said that it holds other bytes", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    const changed: string[] = [];
    class Changing extends HookedStore {
      override async put(key: string, body: Uint8Array, options?: RequestOptions): Promise<void> {
        if (!key.startsWith(CHUNKS)) return await super.put(key, body, options);
        await super.put(key, body.map((byte, at) => at === body.length - 1 ? byte ^ 1 : byte), options);
        changed.push(key);
        throw new StoreError(`Cannot write "${key}"`, {
          retryable: true,
          cause: new OtherBytesError("its CRC-32"),
        });
      }
    }
    await errorOf(backUp(through(repository, new Changing(store)), [full(VOLUME)]));
    expect(changed.length).toBeGreaterThan(0);
    const marks = await keysOf(store, markOf(CHUNKS));
    expect(marks.toSorted()).toEqual(changed.map(markOf).toSorted());
    const [report] = await backUp(repository, [full(VOLUME)]);
    expect(report!.chunks).toMatchObject({ new: 5, reused: 0 });
    await expectWhole(repository, VOLUME);
  });

  test("is asked once more before it is called a liar", async () => {
    const { store, repository } = await setUp();
    let lies = 1;
    class Forgetful extends HookedStore {
      override async head(...args: Parameters<HookedStore["head"]>) {
        const isPut = this.keys("put").includes(args[0]);
        return isPut && args[0].startsWith(CHUNKS) && lies-- > 0 ? undefined : await super.head(...args);
      }
    }
    await backUp(through(repository, new Forgetful(store)), [full(noiseChunks(31, 32), "x")]);
    expect(lies).toBeLessThan(0);
    await expectWhole(repository, noiseChunks(31, 32));
  });
});

/** What marks the object as damaged. */
function markOf(key: string): string {
  return key.replace(`/${CHUNKS_PREFIX}`, `/${MARKED_PREFIX}`);
}
