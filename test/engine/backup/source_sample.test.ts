/** A sample of what a difference left out, compared with the source: what is looked at, what is found, what is refused. */
import { describe, expect, test } from "bun:test";
import { backup } from "../../../src/engine/backup/backup.ts";
import type { SampleOptions } from "../../../src/engine/backup/source_sample.ts";
import type { Repository } from "../../../src/project/repository.ts";
import type { Source } from "../../../src/sources/source.ts";
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
  PROJECT,
  testContext,
  VOLUME,
} from "../../kit/engine.ts";
import { data, memorySource, readableSource, type TestDiff, zeros } from "../../kit/memory_source.ts";

const COUNT = 40;
const SIZE = COUNT * CHUNK_BYTES;
const ALL: SampleOptions = { share: 1, random: () => 0.99 };

/** A volume of noise with zeros at chunk 30, backed up as snapshot "a". */
async function setUp() {
  const store = newStore();
  const repository = await newRepository(store);
  const content = noise(1, SIZE);
  content.fill(0, 30 * CHUNK_BYTES, 31 * CHUNK_BYTES);
  await backUp(repository, [{ to: "a", sizeBytes: SIZE, extents: [data(0, content)] }]);
  return { store, repository, content };
}

/** What changed from "a" to "b": chunks 3 and 4, and half of chunk 5. */
function increment(content: Uint8Array): TestDiff {
  const after = content.subarray(3 * CHUNK_BYTES, 5.5 * CHUNK_BYTES);
  return { from: "a", to: "b", sizeBytes: SIZE, extents: [data(3 * CHUNK_BYTES, after)] };
}

async function check(repository: Repository, source: Source, checkSample: SampleOptions) {
  const options = { project: PROJECT, volume: VOLUME, source, secrets: [], tags: [], checkSample };
  const [report] = await backup(repository, options, testContext());
  return report!.checked_chunks;
}

describe("backup({ checkSample })", () => {
  test("compares all that the difference did not give as a whole, and nothing else", async () => {
    const { repository, content } = await setUp();
    content.fill(7, 3 * CHUNK_BYTES, 5.5 * CHUNK_BYTES);
    const source = readableSource(increment(content), content);
    expect(await check(repository, source, ALL)).toBe(COUNT - 2);
    const positions = Array.from({ length: COUNT }, (_, at) => at).filter((at) => at !== 3 && at !== 4);
    expect(source.reads).toEqual(positions.map((at) => at * CHUNK_BYTES));
    expect(Buffer.compare(await bytesOf(repository, { point: "b" }), content)).toBe(0);
  });

  test.each([
    ["a chunk that the base has otherwise", 17],
    ["the part of a chunk that the difference did not give", 5.75],
    ["a chunk that the base has as zeros", 30],
    ["the last chunk", COUNT - 1],
  ])("refuses %s, and commits nothing", async (_, chunk) => {
    const { repository, store, content } = await setUp();
    const before = await keysOf(store, MANIFESTS);
    content[chunk * CHUNK_BYTES]! ^= 1;
    const error = await errorOf(check(repository, readableSource(increment(content), content), ALL));
    expect(error.code).toBe("conflict");
    expect(error.message).toMatch(
      /^Cannot back up "acme\/rbd\/vm-1": the stream does not follow "acme\/rbd\/vm-1@\w+-\w+"/,
    );
    expect(error.message).toContain(`at offset ${Math.floor(chunk) * CHUNK_BYTES},`);
    expect(error.message).toMatch(/nothing was committed; back up in full, with --full$/);
    expect(await keysOf(store, MANIFESTS)).toEqual(before);
  });

  test("refuses zeros of the source where the base has bytes", async () => {
    const { repository, content } = await setUp();
    content.fill(0, 9 * CHUNK_BYTES, 10 * CHUNK_BYTES);
    const error = await errorOf(check(repository, readableSource(increment(content), content), ALL));
    expect(error).toMatchObject({
      code: "conflict",
      message: expect.stringContaining(`${9 * CHUNK_BYTES},`),
    });
  });

  test("compares what a full stream left out with zeros", async () => {
    const { repository, content } = await setUp();
    const full: TestDiff = {
      to: "c",
      sizeBytes: SIZE,
      extents: [data(0, content.subarray(0, 20 * CHUNK_BYTES))],
    };
    const error = await errorOf(check(repository, readableSource(full, content), ALL));
    expect(error).toMatchObject({
      code: "conflict",
      message: expect.stringContaining("the stream misses the data in"),
    });
    content.fill(0, 20 * CHUNK_BYTES);
    expect(await check(repository, readableSource(full, content), ALL)).toBe(20);
  });

  test("compares the last chunk of a volume that was cut or has grown to no whole number of chunks", async () => {
    const { repository, content } = await setUp();
    const sizeBytes = SIZE - CHUNK_BYTES - 100;
    const cut = readableSource(
      { from: "a", to: "b", sizeBytes, extents: [] },
      content.subarray(0, sizeBytes),
    );
    expect(await check(repository, cut, ALL)).toBe(COUNT - 1);
    const grown = new Uint8Array(SIZE + 5);
    grown.set(content.subarray(0, sizeBytes));
    const source = readableSource({ from: "b", to: "c", sizeBytes: grown.length, extents: [] }, grown);
    expect(await check(repository, source, ALL)).toBe(COUNT + 1);
  });

  test("spreads a share evenly, begins anywhere, and comes to every chunk in time", async () => {
    const { repository, content } = await setUp();
    const seen = new Set<number>();
    for (let run = 0; run < 10; run++) {
      const source = readableSource(increment(content), content);
      expect(await check(repository, source, { share: 0.1, random: () => run / 10 })).toBeWithin(3, 5);
      const gaps = source.reads.slice(1).map((offset, at) => (offset - source.reads[at]!) / CHUNK_BYTES);
      for (const gap of gaps) expect(gap).toBeWithin(10, 13); // up to two given chunks in between
      source.reads.forEach((offset) => seen.add(offset));
    }
    expect(seen.size).toBe(COUNT - 2);
  });

  test.each([0, 0.5, 0.999])(
    "compares one chunk at least where there is any, by chance %d",
    async (chance) => {
      const { repository, content } = await setUp();
      const source = readableSource(increment(content), content);
      expect(await check(repository, source, { share: 1 / 9999, random: () => chance })).toBe(1);
      const all: TestDiff = { from: "b", to: "c", sizeBytes: SIZE, extents: [zeros(0, SIZE)] };
      const nothing = readableSource(all, new Uint8Array());
      expect(await check(repository, nothing, { share: 1 / 9999, random: () => chance })).toBe(0);
    },
  );

  test("is a usage error with a source that is read once, before it is read and anything is made", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    const before = await keysOf(store, "");
    const source = memorySource([{ to: "a", sizeBytes: SIZE, extents: [] }], () => {
      throw new Error("it was read");
    });
    const error = await errorOf(check(repository, source, ALL));
    expect(error).toMatchObject({
      code: "usage",
      message: expect.stringContaining("back up the image itself"),
    });
    expect(await keysOf(store, "")).toEqual(before);
  });

  test("fails where the base's page cannot be read, instead of passing over what it names", async () => {
    const { repository, store, content } = await setUp();
    await backUp(repository, [{ from: "a", to: "b", sizeBytes: SIZE, extents: [] }]);
    for (const key of await keysOf(store, CHUNKS)) {
      if ((await store.get(key)).length < CHUNK_BYTES) await store.delete([key]);
    }
    const nothing: TestDiff = { from: "b", to: "c", sizeBytes: SIZE, extents: [] };
    const error = await errorOf(
      check(repository, readableSource(nothing, content), { share: 0.1, random: () => 0 }),
    );
    expect(error).toMatchObject({ code: "damage", message: expect.stringContaining("back up in full") });
  });

  test("a source that cannot be opened ends the backup before its stream is read", async () => {
    const { repository, content } = await setUp();
    const source = memorySource([increment(content)]);
    const diffs = async function* () {
      for await (const diff of source.diffs()) {
        const extents = () => {
          throw new Error("it was read");
        };
        yield { ...diff, extents };
      }
    };
    const openReader = () => Promise.reject(new Error("the image is gone"));
    await expect(check(repository, { ...source, diffs, openReader }, ALL)).rejects.toThrow(
      "the image is gone",
    );
  });

  test("a source that cannot be read ends the backup, and nothing is committed", async () => {
    const { repository, store, content } = await setUp();
    const before = await keysOf(store, MANIFESTS);
    const readAt = () => Promise.reject(new Error("the image is gone"));
    const source = { ...memorySource([increment(content)]), openReader: async () => ({ readAt }) };
    await expect(check(repository, source, ALL)).rejects.toThrow("the image is gone");
    expect(await keysOf(store, MANIFESTS)).toEqual(before);
  });
});
