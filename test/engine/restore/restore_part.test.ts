/** restore() of a part: the part is as the volume has it, and nothing else of the target changes. */
import { beforeAll, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Repository } from "../../../src/project/repository.ts";
import {
  backUp,
  CHUNK_BYTES,
  errorOf,
  newRepository,
  noise,
  noiseChunks,
  testContext,
} from "../../kit/engine.ts";
import { data } from "../../kit/memory_source.ts";
import { contentOf, expectContent, type FileRestore, restoreFile } from "../../kit/restores.ts";
import { scratchFolder } from "../../kit/scratch.ts";

const folder = scratchFolder();
const path = join(folder, "disk");

/** Data, zeros, data, and a short piece. */
const SIZE_BYTES = 6 * CHUNK_BYTES + 1000;
const VOLUME = new Uint8Array(SIZE_BYTES);
VOLUME.set(noiseChunks(1, 2));
VOLUME.set(noise(3, 2 * CHUNK_BYTES + 1000), 4 * CHUNK_BYTES);

let repository: Repository;
beforeAll(async () => {
  repository = await newRepository();
  await backUp(repository, [{ sizeBytes: SIZE_BYTES, extents: [data(0, VOLUME)] }]);
});
beforeEach(() => fs.rmSync(path, { force: true }));

const restored = (part: FileRestore["part"], options: FileRestore = {}) =>
  restoreFile(repository, path, { part, ...options });

/** `before` with the part of the volume in its place; longer where the part ends behind it. */
function withPart(before: Uint8Array, offset: number, length: number): Uint8Array {
  const wanted = new Uint8Array(Math.max(before.length, offset + length));
  wanted.set(before);
  wanted.set(VOLUME.subarray(offset, offset + length), offset);
  return wanted;
}

const PARTS: [what: string, offset: number, length: number, chunks: number][] = [
  ["is one chunk", CHUNK_BYTES, CHUNK_BYTES, 1],
  ["is several chunks", 0, 3 * CHUNK_BYTES, 3],
  ["lies inside a chunk", CHUNK_BYTES + 100, 50, 1],
  ["is one byte on both sides of a border", CHUNK_BYTES - 1, 2, 2],
  ["begins and ends inside chunks", 100, 5 * CHUNK_BYTES, 6],
  ["is zeros, unaligned", 2 * CHUNK_BYTES + 5, CHUNK_BYTES + 7, 2],
  ["is the short chunk at the end", 6 * CHUNK_BYTES, 1000, 1],
  ["ends with the volume", 5 * CHUNK_BYTES + 9, CHUNK_BYTES + 991, 2],
  ["is all of it", 0, SIZE_BYTES, 7],
];

describe("restore() of a part", () => {
  test.each(PARTS)("changes only the part when it %s", async (_, offset, length, total) => {
    for (
      const before of [
        noise(7, SIZE_BYTES + 5000),
        noise(8, offset + length / 2 | 0),
        new Uint8Array(SIZE_BYTES),
      ]
    ) {
      fs.writeFileSync(path, before);
      const report = await restored({ offset, length });
      expect(report).toMatchObject({ way: "compare", chunks: { total } });
      expect(report.written_bytes).toBeLessThanOrEqual(length);
      expectContent(path, withPart(before, offset, length));
    }
  });

  test.each(PARTS)(
    "makes a file that has only the part, with a hole before it, when it %s",
    async (_, offset, length) => {
      const report = await restored({ offset, length });
      expect(report.way).toBe("new");
      expectContent(path, withPart(new Uint8Array(), offset, length));
      expect(fs.statSync(path).blocks * 512).toBeLessThanOrEqual(length + 2 * 4096);
    },
  );

  test.each(PARTS)("says the same in a dry run when it %s", async (_, offset, length) => {
    const before = noise(7, SIZE_BYTES);
    fs.writeFileSync(path, before);
    const planned = await restored({ offset, length }, { dryRun: true });
    expectContent(path, before);
    const { chunks, read_bytes } = await restored({ offset, length });
    expect(planned).toMatchObject({ chunks, read_bytes });
  });

  test("goes to the volume's end when no length is given", async () => {
    fs.writeFileSync(path, noise(7, SIZE_BYTES + 5000));
    await restored({ offset: 5 * CHUNK_BYTES + 1, length: undefined });
    const offset = 5 * CHUNK_BYTES + 1;
    expectContent(path, withPart(noise(7, SIZE_BYTES + 5000), offset, SIZE_BYTES - offset));
  });

  test("changes nothing when it is empty", async () => {
    fs.writeFileSync(path, noise(7, SIZE_BYTES));
    for (const offset of [0, 77, CHUNK_BYTES, SIZE_BYTES]) {
      expect(await restored({ offset, length: 0 })).toMatchObject({ written_bytes: 0 });
    }
    expectContent(path, noise(7, SIZE_BYTES));
  });

  test("leaves what matches: of a chunk that has it, nothing is fetched", async () => {
    fs.writeFileSync(path, VOLUME);
    const report = await restored({ offset: 100, length: 2 * CHUNK_BYTES });
    expect(report).toMatchObject({ chunks: { total: 3, matched: 3 }, downloaded_bytes: 0, written_bytes: 0 });
  });

  test.each([
    ["begins behind it", SIZE_BYTES + 1, undefined, 0],
    ["ends behind it", 5, SIZE_BYTES - 4, SIZE_BYTES - 4],
    ["begins far behind it", 2 ** 50, 1, 1],
  ])("is refused, and makes no file, when the part %s", async (_, offset, length, told) => {
    const error = await errorOf(restored({ offset, length }));
    expect(error.code).toBe("usage");
    expect(error.message).toBe(
      `Cannot restore ${told} bytes at offset ${offset} of "rbd/vm-1": its size is ${SIZE_BYTES} bytes`,
    );
    expect(contentOf(path)).toBeUndefined();
  });

  test("is not taken for the whole volume when the file is restored again", async () => {
    const context = testContext({ cacheRoot: join(folder, "cache") });
    await restored({ offset: 0, length: CHUNK_BYTES }, { context });
    expect(await restoreFile(repository, path, { context })).toMatchObject({ way: "compare" });
    expectContent(path, VOLUME);
    const again = await restored({ offset: 10, length: CHUNK_BYTES }, { context });
    expect(again).toMatchObject({ way: "unchanged", read_bytes: 0, chunks: { matched: 2 } });
    expect(await restoreFile(repository, path, { context })).toMatchObject({ way: "unchanged" });
  });
});
