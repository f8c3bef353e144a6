/** restore() onto what is known to be a backup except for a stream of changes: it reads and fetches no more than that. */
import { beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import { PAGE_CHUNKS } from "../../../src/format/limits.ts";
import { describeError } from "../../../src/errors.ts";
import { openSource } from "../../../src/sources/open.ts";
import type { Repository } from "../../../src/project/repository.ts";
import type { RestoreReport } from "../../../src/engine/restore/restore.ts";
import type { Target } from "../../../src/targets/target.ts";
import {
  backUp,
  CHUNK_BYTES,
  errorOf,
  newRepository,
  noise,
  noiseChunks,
  testContext,
  through,
} from "../../kit/engine.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { data, memorySource, type TestDiff, type TestExtent, zeros } from "../../kit/memory_source.ts";
import { encodeDiff, encodeExport, type TestRecord } from "../../kit/rbd_stream.ts";
import { changed, expectContent, type FileRestore, restoreFile } from "../../kit/restores.ts";
import { applied } from "../../kit/volume_history.ts";
import { scratchFolder } from "../../kit/scratch.ts";

const folder = scratchFolder();
const path = join(folder, "disk");
const { signal } = new AbortController();
const SIZE_BYTES = 9 * CHUNK_BYTES + 1000;

let repository: Repository;
/** The bytes of the snapshots monday and tuesday. */
let monday: Uint8Array;
let tuesday: Uint8Array;

beforeEach(async () => {
  repository = await newRepository();
  const first = {
    to: "monday",
    sizeBytes: SIZE_BYTES,
    extents: [data(0, noiseChunks(1, 2, 3)), data(8 * CHUNK_BYTES, noise(4, CHUNK_BYTES + 1000))],
  };
  const second = {
    from: "monday",
    to: "tuesday",
    sizeBytes: SIZE_BYTES,
    extents: [data(CHUNK_BYTES, noise(5, 10)), data(5 * CHUNK_BYTES, noise(6, 10))],
  };
  await backUp(repository, [first]);
  await backUp(repository, [second]);
  monday = applied(new Uint8Array(), first);
  tuesday = applied(monday, second);
});

/** Writes what the image is now, tuesday and these changes, and restores monday onto it. */
async function rollBack(
  extents: TestExtent[],
  { sizeBytes = SIZE_BYTES, ...options }: FileRestore & { sizeBytes?: number } = {},
): Promise<RestoreReport> {
  const diff: TestDiff = { from: "tuesday", to: undefined, sizeBytes, extents };
  fs.writeFileSync(path, applied(tuesday, diff));
  const known = { point: "tuesday", changes: memorySource([diff]) };
  return await restoreFile(repository, path, { point: "monday", known, ...options });
}

describe("restore() with a stream of changes", () => {
  test("reads only the chunks that the stream names, and writes these and where the points differ", async () => {
    const { backup } = await restoreFile(repository, path, { point: "tuesday", dryRun: true });
    // One chunk with other bytes, one named for nothing, one that differs between the points besides.
    const report = await rollBack([
      data(2 * CHUNK_BYTES + 9, noise(7, 20)),
      data(0, monday.slice(0, 5)),
      zeros(5 * CHUNK_BYTES, 7),
    ]);
    expect(report).toMatchObject({
      way: "changes",
      reason: `"${path}" is assumed to match ${backup} apart from the changes`,
      chunks: { total: 10, written: 2, zero: 1, matched: 7 },
      read_bytes: 3 * CHUNK_BYTES,
      written_bytes: 2 * CHUNK_BYTES,
    });
    expectContent(path, monday);
  });

  test("reads nothing when nothing changed, and writes where the points differ", async () => {
    const report = await rollBack([]);
    expect(report).toMatchObject({ read_bytes: 0, chunks: { written: 1, zero: 1, matched: 8 } });
    expectContent(path, monday);
  });

  test("is right when an extent crosses chunks, and lies over another", async () => {
    const report = await rollBack([
      data(2 * CHUNK_BYTES - 1, noise(7, CHUNK_BYTES + 2)),
      zeros(2 * CHUNK_BYTES, 3 * CHUNK_BYTES),
    ]);
    expect(report.read_bytes).toBe(4 * CHUNK_BYTES);
    expectContent(path, monday);
  });

  test("is right when the image has grown, shrunk, or ends inside a chunk", async () => {
    for (
      const sizeBytes of [
        SIZE_BYTES + 3 * CHUNK_BYTES,
        SIZE_BYTES + 1,
        SIZE_BYTES - 1,
        9 * CHUNK_BYTES,
        2 * CHUNK_BYTES + 7,
        0,
      ]
    ) {
      const extents = sizeBytes > SIZE_BYTES ? [data(SIZE_BYTES, noise(7, 1))] : [];
      const { way } = await rollBack(extents, { sizeBytes });
      expect(way).toBe("changes");
      expectContent(path, monday);
    }
  });

  test("is right when it broke off and is run again with the stream of now", async () => {
    const extents = [data(2 * CHUNK_BYTES, noise(7, 20)), data(8 * CHUNK_BYTES, noise(8, 5))];
    const offsets: number[] = [];
    const wrap = (target: Target) =>
      changed(target, {
        write: async (offset, bytes) => {
          if (offsets.push(offset) === 3) throw new Error("the device is gone");
          await target.write(offset, bytes);
        },
      });
    expect(await rollBack(extents, { wrap }).catch(String)).toBe("Error: the device is gone");
    expect(offsets).toEqual([CHUNK_BYTES, 2 * CHUNK_BYTES, 8 * CHUNK_BYTES]);
    const written = offsets.map((offset) => zeros(offset, 1));
    const changes = memorySource([{
      from: "tuesday",
      sizeBytes: SIZE_BYTES,
      extents: [...extents, ...written],
    }]);
    const known = { point: "tuesday", changes };
    const report = await restoreFile(repository, path, { point: "monday", known });
    expect(report.chunks).toMatchObject({ written: 1 });
    expectContent(path, monday);
  });

  test("says the same in a dry run, and changes nothing", async () => {
    const extents = [data(2 * CHUNK_BYTES + 9, noise(7, 20)), data(0, monday.slice(0, 5))];
    const planned = await rollBack(extents, { dryRun: true });
    expectContent(path, applied(tuesday, { from: "x", sizeBytes: SIZE_BYTES, extents }));
    const { way, chunks, read_bytes } = await rollBack(extents);
    expect(planned).toMatchObject({ way, chunks, read_bytes, written_bytes: 0, downloaded_bytes: 0 });
  });

  test("goes by what it was told, and not by what was recorded of the file", async () => {
    const context = testContext({ cacheRoot: join(folder, "cache") });
    await restoreFile(repository, path, { point: "monday", context });
    const changes = memorySource([{
      from: "tuesday",
      sizeBytes: SIZE_BYTES,
      extents: [zeros(0, SIZE_BYTES)],
    }]);
    const report = await restoreFile(repository, path, {
      point: "monday",
      context,
      known: { point: "tuesday", changes },
    });
    expect(report).toMatchObject({ way: "changes", read_bytes: SIZE_BYTES, chunks: { matched: 10 } });
  });

  test("notes what it was told as a fact only when the target was verified", async () => {
    const context = testContext({ cacheRoot: join(folder, "cache-2") });
    await rollBack([], { context });
    expect(await restoreFile(repository, path, { point: "monday", context })).toMatchObject({
      way: "compare",
    });
    await rollBack([], { context, verifyTarget: true });
    expect(await restoreFile(repository, path, { point: "monday", context })).toMatchObject({
      way: "unchanged",
    });
  });
});

/** Streams that cannot be used, and what is said of them. */
const stream = (...records: TestRecord[]) =>
  encodeDiff([...records, { tag: "s", sizeBytes: SIZE_BYTES }, { tag: "w", offset: 5, data: noise(1, 50) }, {
    tag: "e",
  }]);
const GOOD = stream({ tag: "f", name: "tuesday" });
const REFUSED: [what: string, bytes: Uint8Array, line: RegExp][] = [
  [
    "begins at another snapshot",
    stream({ tag: "f", name: "sunday" }),
    /the stream starts at snapshot "sunday", but restore point \S+ has snapshot "tuesday"$/,
  ],
  [
    "is a full one",
    stream({ tag: "t", name: "tuesday" }),
    /the stream is a full export, but restore point \S+ has snapshot "tuesday"$/,
  ],
  ["is cut in its data", GOOD.slice(0, -10), /stream offset/],
  ["is cut before its end record", GOOD.slice(0, -1), /stream offset/],
  ["is empty", new Uint8Array(), /stream offset/],
  ["goes on behind its end", new Uint8Array([...GOOD, 0]), /stream offset/],
  ["is a text", new TextEncoder().encode("no stream\n".repeat(100)), /"[^"]*changes"/],
  [
    "holds several differences",
    encodeExport(
      [1, 2].map(() => [{ tag: "f", name: "tuesday" }, { tag: "s", sizeBytes: SIZE_BYTES }, { tag: "e" }]),
    ),
    /it contains more than one difference$/,
  ],
];

describe("restore() with a stream of changes that cannot be used", () => {
  test.each(REFUSED)(
    "is refused and leaves the target as it is when the stream %s",
    async (_, bytes, line) => {
      fs.writeFileSync(path, tuesday);
      fs.writeFileSync(join(folder, "changes"), bytes);
      const changes = async () =>
        await openSource({ path: join(folder, "changes") }, { format: "auto", signal });
      const error = await errorOf(
        changes().then((changes) =>
          restoreFile(repository, path, { point: "monday", known: { point: "tuesday", changes } })
        ),
      );
      expect({ code: error.code, text: describeError(error) }).toEqual({
        code: "failed",
        text: expect.stringMatching(line),
      });
      expectContent(path, tuesday);
    },
  );

  test("is refused when the backup is of no snapshot", async () => {
    await backUp(repository, [{ sizeBytes: SIZE_BYTES, extents: [] }]);
    fs.writeFileSync(path, tuesday);
    const changes = memorySource([{ from: "tuesday", sizeBytes: SIZE_BYTES, extents: [] }]);
    const error = await errorOf(
      restoreFile(repository, path, { point: "monday", known: { point: "latest", changes } }),
    );
    expect(error.message).toMatch(/restore point \S+ has no snapshot$/);
    expectContent(path, tuesday);
  });

  test.each([["is not there", undefined], ["is empty", 0], [
    "is shorter than the stream says",
    SIZE_BYTES - 1,
  ]])(
    "is refused when the target %s: it cannot be that backup",
    async (_, sizeBytes) => {
      fs.rmSync(path, { force: true });
      if (sizeBytes !== undefined) fs.writeFileSync(path, tuesday.slice(0, sizeBytes));
      const changes = memorySource([{ from: "tuesday", sizeBytes: SIZE_BYTES, extents: [] }]);
      const error = await errorOf(
        restoreFile(repository, path, { point: "tuesday", known: { point: "tuesday", changes } }),
      );
      expect(error.message).toMatch(
        new RegExp(
          `it is too small \\(${sizeBytes ?? 0} bytes\\) to be restore point \\S+ \\(${SIZE_BYTES} bytes\\)$`,
        ),
      );
    },
  );
});

test("restore() with a stream of changes reads no page that is the same in both points and untouched", async () => {
  const sizeBytes = 5 * PAGE_CHUNKS * CHUNK_BYTES;
  const at = (page: number) => page * PAGE_CHUNKS * CHUNK_BYTES;
  const extents = [0, 1, 2, 3, 4].map((page) => data(at(page), noise(page, CHUNK_BYTES)));
  await backUp(repository, [{ to: "one", sizeBytes, extents }], { volume: "large" });
  await backUp(repository, [{ from: "one", to: "two", sizeBytes, extents: [data(at(1), noise(9, 10))] }], {
    volume: "large",
  });
  fs.rmSync(path);
  await restoreFile(repository, path, { volume: "large", point: "two" });
  const recording = new HookedStore(repository.store);
  const changes = memorySource([{ from: "two", sizeBytes, extents: [data(at(3), noise(8, 10))] }]);
  fs.writeSync(fs.openSync(path, "r+"), noise(8, 10), 0, 10, at(3));
  const known = { point: "two", changes };
  // A dry run: what is remembered in the end is of the whole volume.
  const planned = await restoreFile(through(repository, recording), path, {
    volume: "large",
    point: "one",
    known,
    dryRun: true,
  });
  expect(planned).toMatchObject({ chunks: { total: 5 * PAGE_CHUNKS, written: 2 }, read_bytes: CHUNK_BYTES });
  // Two pages of each point, one of them the same in both.
  expect(new Set(recording.keys("get").filter((key) => key.includes("/chunks/"))).size).toBe(3);
});
