/** backup() of small writes: when a block patch is stored, over what, and what is read for it. */
import { beforeEach, describe, expect, test } from "bun:test";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { Repository } from "../../src/project/repository.ts";
import { BLOCK_BYTES } from "../../src/format/limits.ts";
import type { MemoryStore } from "../../src/store/memory.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  keysOf,
  newRepository,
  newStore,
  noise,
  noiseChunks,
} from "../kit/engine.ts";
import { data, type TestExtent, zeros } from "../kit/memory_source.ts";
import { block, blocks, objectKey, PATCH_BLOCKS, placesOf, written } from "../kit/patches.ts";
import { condemn } from "../kit/plans.ts";

const SIZE = 3 * CHUNK_BYTES;
const FIRST = noiseChunks(1, 2, 3);

let store: MemoryStore;
let repository: Repository;
let volume: Uint8Array;
let points: number;
beforeEach(async () => {
  repository = await newRepository(store = newStore());
  points = 0;
  await full(FIRST);
});

async function full(content: Uint8Array, extents = [data(0, content)]): Promise<BackupReport> {
  const diff = { to: `s${++points}`, sizeBytes: content.length, extents };
  const [report] = await backUp(repository, [diff]);
  volume = content;
  await expectRestored();
  return report!;
}

/** An increment, which has to restore to what it should be. */
async function next(...extents: TestExtent[]): Promise<BackupReport> {
  const diff = { from: `s${points}`, to: `s${++points}`, sizeBytes: volume.length, extents };
  const [report] = await backUp(repository, [diff]);
  volume = written(volume, extents);
  await expectRestored();
  return report!;
}

async function expectRestored(): Promise<void> {
  expect(Buffer.compare(await bytesOf(repository), volume)).toBe(0);
}

const counts = ({ chunks: { new: whole, patched, reused, zero } }: BackupReport) => ({
  ...{ whole, patched, reused, zero },
});
const ONE = { whole: 0, patched: 0, reused: 0, zero: 0 };
const PATCHED = { ...ONE, patched: 1 };
const WHOLE = { ...ONE, whole: 1 };
const REUSED = { ...ONE, reused: 1 };

describe("backup() of blocks", () => {
  test("stores a patch of less than a quarter of the chunk, and a whole chunk of a quarter", async () => {
    for (let count = 1; count <= PATCH_BLOCKS; count++) {
      const report = await next(...blocks(0, count, 100 * count));
      expect(counts(report)).toEqual(PATCHED);
      // The blocks do not compress; beside them a header, a front and a page.
      expect(report.uploaded_bytes).toBeLessThan(count * BLOCK_BYTES + 1024);
    }
    expect(counts(await next(...blocks(1, PATCH_BLOCKS + 1, 900)))).toEqual(WHOLE);
  });

  test("counts all that differs from the whole chunk, also what was written before", async () => {
    expect(counts(await next(...blocks(0, PATCH_BLOCKS, 100)))).toEqual(PATCHED);
    expect(counts(await next(block(0, 10, 200)))).toEqual(WHOLE);
    // From now on over the new one.
    const [whole] = await placesOf(repository);
    expect(counts(await next(block(0, 11, 300)))).toEqual(PATCHED);
    expect((await placesOf(repository))[0]!.base).toEqual(whole!.object);
  });

  test("of a chunk that is shorter takes a quarter of that", async () => {
    const short = 5 * BLOCK_BYTES + 100; // six blocks: one is less than a quarter
    await full(noiseChunks(1, 7).slice(0, CHUNK_BYTES + short));
    expect(counts(await next(data(CHUNK_BYTES + 5 * BLOCK_BYTES, noise(8, 100))))).toEqual(PATCHED);
    expect(counts(await next(block(1, 0, 9)))).toEqual(WHOLE);
  });

  test("patches the whole chunk, and never a patch, also the tenth time", async () => {
    const [whole] = await placesOf(repository);
    for (let turn = 0; turn < 10; turn++) {
      expect(counts(await next(block(0, turn % PATCH_BLOCKS, 100 + turn)))).toEqual(PATCHED);
      const [place] = await placesOf(repository);
      expect(place!.base).toEqual(whole!.object);
      expect(place!.object).not.toEqual(whole!.object);
    }
  });

  test("refers to the whole chunk where its content is back", async () => {
    const [whole] = await placesOf(repository);
    await next(block(0, 5, 100));
    const report = await next(data(5 * BLOCK_BYTES, FIRST.slice(5 * BLOCK_BYTES, 6 * BLOCK_BYTES)));
    expect(counts(report)).toEqual(REUSED);
    expect((await placesOf(repository))[0]).toEqual(whole);
  });

  test("uses a whole chunk of that content where there is one", async () => {
    const change = block(0, 5, 100);
    const other = written(FIRST, [change]).slice(0, CHUNK_BYTES);
    await backUp(repository, [{ sizeBytes: CHUNK_BYTES, extents: [data(0, other)] }], { volume: "other" });
    expect(counts(await next(change))).toEqual(REUSED);
    expect((await placesOf(repository))[0]!.base).toBeUndefined();
  });

  test("stores one patch where two positions have the same chunk and change", async () => {
    await full(noiseChunks(1, 1, 3));
    const before = await keysOf(store, CHUNKS);
    expect(counts(await next(block(0, 5, 100), block(1, 5, 100)))).toEqual({ ...PATCHED, reused: 1 });
    expect(await keysOf(store, CHUNKS)).toHaveLength(before.length + 2); // and a page
  });

  test("makes a chunk of zeros of one whose blocks are all made zeros, and never patches zeros", async () => {
    await next(block(0, 0, 100));
    expect(counts(await next(zeros(0, CHUNK_BYTES)))).toEqual({ ...ONE, zero: 1 });
    expect(counts(await next(block(0, 3, 200)))).toEqual(WHOLE);
    expect(counts(await next(zeros(3 * BLOCK_BYTES, BLOCK_BYTES)))).toEqual({ ...ONE, zero: 1 });
  });

  test("stores a chunk of another length whole, when the volume shrinks or grows in it", async () => {
    for (const sizeBytes of [SIZE - BLOCK_BYTES, SIZE - 100, SIZE]) {
      const diff = { from: `s${points}`, to: `s${++points}`, sizeBytes, extents: [] };
      const [report] = await backUp(repository, [diff]);
      const grown = new Uint8Array(sizeBytes);
      grown.set(volume.subarray(0, sizeBytes));
      volume = grown;
      await expectRestored();
      expect(counts(report!)).toEqual(WHOLE);
      expect((await placesOf(repository))[2]!.base).toBeUndefined();
    }
  });

  test("finds the blocks that changed where the stream gives whole objects, or the whole volume", async () => {
    const changed = written(volume, [block(0, 7, 100)]);
    expect(counts(await next(data(0, changed.slice(0, CHUNK_BYTES))))).toEqual(PATCHED);
    const again = written(changed, [block(0, 8, 200), block(2, 1, 300)]);
    expect(counts(await full(again))).toEqual({ ...ONE, patched: 2, reused: 1 });
  });

  test("of a full stream that comes back to a chunk patches what it has made of it, not what was there before", async () => {
    await full(noiseChunks(1, 2, 3, 4, 5, 6, 7, 8));
    // More chunks at once than are held open, twice: first most of each, then a block that makes it like none.
    const most = Array.from({ length: 8 }, (_, position) => {
      return data(position * CHUNK_BYTES, noise(50 + position, CHUNK_BYTES - BLOCK_BYTES));
    });
    const rest = Array.from({ length: 8 }, (_, position) => block(position, 15, 70 + position));
    const content = written(new Uint8Array(8 * CHUNK_BYTES), [...most, ...rest]);
    const report = await full(content, [...most, ...rest]);
    expect(report.chunks.patched).toBeGreaterThan(0);
  });
});

describe("backup() over a base that may not be used", () => {
  test("does not patch what a gc plan condemns", async () => {
    const [whole] = await placesOf(repository);
    const condemned = objectKey(whole!.object);
    await condemn(repository, [condemned]);
    expect(counts(await next(block(0, 3, 100)))).toEqual(WHOLE);
    await store.delete([condemned]);
    await expectRestored();
  });

  test("does not patch what is marked", async () => {
    const [whole] = await placesOf(repository);
    await store.put(objectKey(whole!.object).replace("/chunks/", "/marked/"), new Uint8Array());
    expect(counts(await next(block(0, 3, 100)))).toEqual(WHOLE);
    expect((await placesOf(repository))[0]!.base).toBeUndefined();
  });

  test("stores a patch whose key is condemned under a key of its own", async () => {
    await next(block(0, 3, 100));
    const [patched] = await placesOf(repository);
    await next(block(0, 3, 200));
    const condemned = objectKey(patched!.object);
    await condemn(repository, [condemned]);
    expect(counts(await next(block(0, 3, 100)))).toEqual(PATCHED);
    const [place] = await placesOf(repository);
    expect(place!.object.id).toEqual(patched!.object.id);
    expect(place!.object.lease).toBeDefined();
    await store.delete([condemned]);
    await expectRestored();
  });

  for (const which of ["patch", "base", "both"] as const) {
    test(`stores a chunk again that the stream does not touch when a plan condemns of it: ${which}`, async () => {
      await next(block(0, 3, 100));
      const [place] = await placesOf(repository);
      const [patch, base] = [objectKey(place!.object), objectKey(place!.base!)];
      const condemned = which === "both" ? [patch, base] : which === "patch" ? [patch] : [base];
      await condemn(repository, condemned);
      await next(block(1, 3, 200));
      await store.delete(condemned);
      await expectRestored();
      const [rescued] = await placesOf(repository);
      expect([rescued!.id, rescued!.base]).toEqual([place!.id, undefined]);
    });
  }
});
