/** restore() onto real files: which way is taken, what is read, fetched and written, and that the file then is right. */
import { beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Repository } from "../../../src/project/repository.ts";
import type { RestoreReport } from "../../../src/engine/restore/restore.ts";
import { openSource } from "../../../src/sources/open.ts";
import { backUp, CHUNK_BYTES, newRepository, noise, noiseChunks, testContext } from "../../kit/engine.ts";
import { contentOf, differing, expectContent, restoreFile } from "../../kit/restores.ts";
import { scratchFolder } from "../../kit/scratch.ts";

const folder = scratchFolder();
const path = join(folder, "disk");
const { signal } = new AbortController();

/** Data, zeros, data, zeros, and a short piece at the end. */
const VOLUME = new Uint8Array(Buffer.concat([
  noiseChunks(1, 2),
  new Uint8Array(2 * CHUNK_BYTES),
  noiseChunks(3),
  new Uint8Array(3 * CHUNK_BYTES),
  noise(4, 1000),
]));
const TOTAL = 9;
const DATA = 4;

let repository: Repository;
let context = testContext();
let turn = 0;

beforeEach(async () => {
  fs.rmSync(path, { force: true });
  repository = await newRepository();
  context = testContext({ cacheRoot: join(folder, `cache-${turn++}`) });
  await backUpBytes(VOLUME);
});

/** As `varve backup --format raw` of a file. */
async function backUpBytes(bytes: Uint8Array): Promise<string> {
  fs.writeFileSync(join(folder, "source"), bytes);
  return await backUpFile(join(folder, "source"));
}

async function backUpFile(file: string): Promise<string> {
  const source = await openSource({ path: file }, { format: "raw", signal });
  const [report] = await backUp(repository, source, { context });
  await source.close();
  return report!.backup;
}

const restored = (options: Parameters<typeof restoreFile>[2] = {}) =>
  restoreFile(repository, path, { context, ...options });

/** What a restore has cost. */
function cost({ way, chunks, read_bytes, written_bytes, downloaded_bytes }: RestoreReport) {
  const { zero, matched, written } = chunks;
  return { way, zero, matched, written, read_bytes, written_bytes, fetched: downloaded_bytes > 0 };
}

describe("restore() to a new target", () => {
  test.each([["new", undefined], ["emptied", new Uint8Array()]])(
    "reads nothing and leaves holes when the file is %s",
    async (_, content) => {
      if (content !== undefined) fs.writeFileSync(path, content);
      const report = await restored();
      expect(cost(report)).toEqual({
        way: "new",
        zero: 5,
        matched: 0,
        written: DATA,
        read_bytes: 0,
        written_bytes: 3 * CHUNK_BYTES + 1000,
        fetched: true,
      });
      expect(report.reason).toBe(`"${path}" is empty; there is nothing to compare`);
      expectContent(path, VOLUME);
      expect(allocatedBytes()).toBeLessThanOrEqual(3 * CHUNK_BYTES + 8192);
    },
  );
});

function allocatedBytes(): number {
  return fs.statSync(path).blocks * 512;
}

/** What may stand on the target, and how many chunks have to be fetched then. */
const STATES: [what: string, content: Uint8Array, written: number, zero: number][] = [
  ["has the volume", VOLUME, 0, 0],
  ["has other bytes in one chunk", withBytes(VOLUME, CHUNK_BYTES + 77, noise(9, 3)), 1, 0],
  ["has bytes where the volume has none", withBytes(VOLUME, 3 * CHUNK_BYTES, noise(9, 5)), 0, 1],
  ["has nothing of it", noise(8, VOLUME.length), DATA, 5],
  ["is longer", new Uint8Array(Buffer.concat([VOLUME, noise(7, 3 * CHUNK_BYTES + 5)])), 0, 0],
  ["is cut inside a chunk", VOLUME.slice(0, 4 * CHUNK_BYTES + 100), 2, 3],
  ["is cut at a chunk's border", VOLUME.slice(0, 4 * CHUNK_BYTES), 2, 3],
  ["lacks the last byte", VOLUME.slice(0, -1), 1, 0],
];

function withBytes(volume: Uint8Array, offset: number, bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(volume);
  copy.set(bytes, offset);
  return copy;
}

describe("restore() that compares", () => {
  test.each(STATES)("writes only what differs when the file %s", async (_, content, written, zero) => {
    fs.writeFileSync(path, content);
    const report = await restored();
    expect(report).toMatchObject({
      way: "compare",
      reason: `"${path}" is read and compared, because its content is not known`,
      chunks: { total: TOTAL, written, matched: TOTAL - written - zero },
    });
    expect(report.downloaded_bytes > 0).toBe(written > 0);
    expect(report.read_bytes).toBeLessThanOrEqual(Math.min(content.length, VOLUME.length));
    expectContent(path, VOLUME);
  });

  test.each(STATES)("--dry-run says the same and changes nothing when the file %s", async (_, content) => {
    fs.writeFileSync(path, content);
    const before = fs.statSync(path, { bigint: true });
    const planned = await restored({ dryRun: true });
    expect(fs.statSync(path, { bigint: true })).toMatchObject({
      mtimeNs: before.mtimeNs,
      ctimeNs: before.ctimeNs,
      size: before.size,
    });
    expectContent(path, content);
    expect({ ...cost(planned), written_bytes: 0, fetched: false }).toEqual(cost(planned));
    const done = await restored();
    expect(done).toMatchObject({ way: planned.way, chunks: planned.chunks, read_bytes: planned.read_bytes });
    expect(planned.dry_run).toEqual({ download_bytes_max: done.chunks.written * CHUNK_BYTES });
    expect(done.dry_run).toBeUndefined();
  });

  test("keeps holes when zeros are everywhere", async () => {
    await restored();
    const before = allocatedBytes();
    fs.utimesSync(path, 1, 1);
    expect(cost(await restored())).toMatchObject({ way: "compare", matched: TOTAL });
    expect(allocatedBytes()).toBe(before);
  });

  test("makes holes where the file had data and the volume has none", async () => {
    fs.writeFileSync(path, noise(8, VOLUME.length));
    await restored();
    expect(allocatedBytes()).toBeLessThanOrEqual(3 * CHUNK_BYTES + 8192);
  });
});

test("restore() with dryRun leaves a file that is not there as it is, and says what it would cost", async () => {
  const planned = await restored({ dryRun: true });
  expect(contentOf(path)).toBeUndefined();
  const done = await restored();
  expect(planned).toMatchObject({ way: "new", chunks: done.chunks });
  expect(planned.dry_run).toEqual({ download_bytes_max: DATA * CHUNK_BYTES });
  expect(done.downloaded_bytes).toBeLessThanOrEqual(planned.dry_run!.download_bytes_max);
});

test("restore() with dryRun notes nothing about the file", async () => {
  fs.writeFileSync(path, noise(8, VOLUME.length));
  await restored({ dryRun: true });
  expect(await restored({ dryRun: true })).toMatchObject({ way: "compare" });
});

describe("restore() of a file that was not written to", () => {
  test("reads and fetches nothing when it was restored before", async () => {
    await restored();
    const report = await restored();
    expect(report.way).toBe("unchanged");
    expect(report.reason).toBe(
      `"${path}" is unchanged since it was restored to ${report.backup}; it is not read again`,
    );
    expect(cost(report)).toMatchObject({ matched: TOTAL, read_bytes: 0, written_bytes: 0, fetched: false });
    expect(await restored()).toMatchObject({ way: "unchanged" });
    expectContent(path, VOLUME);
  });

  test("reads and fetches nothing when it was backed up", async () => {
    fs.writeFileSync(path, noise(6, VOLUME.length));
    await backUpFile(path);
    expect(cost(await restored())).toMatchObject({ way: "unchanged", read_bytes: 0, fetched: false });
    expectContent(path, noise(6, VOLUME.length));
  });

  test("fetches only what differs between two points when it is another point of the volume", async () => {
    await restored();
    const later = withBytes(withBytes(VOLUME, 10, noise(9, 3)), 6 * CHUNK_BYTES, noise(9, 3));
    await backUpBytes(later);
    expect(cost(await restored())).toMatchObject({
      // Read: the chunk of which a patch may be all that is missing.
      ...{ way: "unchanged", read_bytes: CHUNK_BYTES, written: 2, zero: 0, matched: TOTAL - 2 },
    });
    expectContent(path, later);
    expect(cost(await restored({ point: "~1" }))).toMatchObject({ way: "unchanged", written: 1, zero: 1 });
    expectContent(path, VOLUME);
  });

  test.each([
    ["shorter", VOLUME.slice(0, 4 * CHUNK_BYTES + 9)],
    ["shorter, by whole chunks", VOLUME.slice(0, 5 * CHUNK_BYTES)],
    ["longer", new Uint8Array(Buffer.concat([VOLUME, noise(5, 2 * CHUNK_BYTES)]))],
    ["longer, with a hole", new Uint8Array(VOLUME.length + 5 * CHUNK_BYTES)],
    ["empty", new Uint8Array()],
  ])("is right when the other point is %s, and fetches no chunk whose bytes are there", async (_, other) => {
    await restored();
    await backUpBytes(other);
    for (const [point, bytes] of [["latest", other], ["~1", VOLUME], ["latest", other]] as const) {
      const before = contentOf(path)!;
      const report = await restored({ point });
      expect(report.way).toBe(point === "latest" || other.length > 0 ? "unchanged" : "new");
      expectContent(path, bytes);
      expect(report.chunks.written).toBeLessThanOrEqual(differing(before, bytes));
    }
  });

  const WRITES: [what: string, write: () => void][] = [
    ["was written to", () => fs.writeFileSync(path, withBytes(VOLUME, 5, noise(9, 3)))],
    ["was written to and has its old times", () => {
      const { atime, mtime } = fs.statSync(path);
      fs.writeFileSync(path, withBytes(VOLUME, 5, noise(9, 3)));
      fs.utimesSync(path, atime, mtime);
    }],
    ["was cut", () => fs.truncateSync(path, 1000)],
    ["was cut and grown again", () => {
      fs.truncateSync(path, 1000);
      fs.truncateSync(path, VOLUME.length);
    }],
    ["was replaced by another", () => {
      fs.writeFileSync(`${path}.new`, noise(8, VOLUME.length));
      fs.renameSync(`${path}.new`, path);
    }],
  ];
  test.each(WRITES)("compares when it %s", async (_, write) => {
    await restored();
    write();
    expect(await restored()).toMatchObject({ way: "compare" });
    expectContent(path, VOLUME);
  });

  test("compares when the cache is not to be trusted", async () => {
    await restored();
    expect(await restored({ trustCache: false })).toMatchObject({
      way: "compare",
      read_bytes: VOLUME.length,
    });
  });

  test("compares when there is no cache", async () => {
    await restored();
    expect(await restored({ context: testContext() })).toMatchObject({ way: "compare" });
  });

  test("compares when it is known as another volume's, another project's or another repository's", async () => {
    await restored();
    const other = noise(5, VOLUME.length);
    for (const place of [{ volume: "other" }, { project: "other" }]) {
      await backUp(repository, [{
        sizeBytes: other.length,
        extents: [{ offset: 0, length: other.length, data: other }],
      }], {
        context,
        ...place,
      });
      expect(await restored(place)).toMatchObject({ way: "compare" });
      expectContent(path, other);
      expect(await restored()).toMatchObject({ way: "compare" });
      expectContent(path, VOLUME);
    }
    const elsewhere = await newRepository();
    await backUp(elsewhere, [{ sizeBytes: 10, extents: [] }], { context });
    expect(await restoreFile(elsewhere, path, { context })).toMatchObject({ way: "compare" });
  });

  test("compares when the backup that it was is gone", async () => {
    await restored();
    const [first] = await Array.fromAsync(repository.store.list("projects/acme/volumes/"));
    await backUpBytes(withBytes(VOLUME, 5, noise(9, 3)));
    await repository.store.delete([first!.key]);
    expect(await restored()).toMatchObject({ way: "compare", chunks: { written: 1 } });
  });
});
