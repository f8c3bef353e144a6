/**
 * What a host remembers, as backups and restores use it: nothing is read from the store again, and whatever a damaged,
 * old or foreign memory says, the result is right.
 */
import { beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import { pageCachePath } from "../../../src/cache/cache_folder.ts";
import { pathOf } from "../../../src/os/own_path.ts";
import type { Context } from "../../../src/context.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { flipBit } from "../../kit/damage.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  newRepository,
  newStore,
  noise,
  PROJECT,
  testContext,
  through,
  VOLUME,
} from "../../kit/engine.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { data, type TestDiff } from "../../kit/memory_source.ts";
import { random } from "../../kit/random.ts";
import { expectContent, restoreFile, warnings } from "../../kit/restores.ts";
import { applied } from "../../kit/volume_history.ts";
import { scratchFolder } from "../../kit/scratch.ts";

const folder = scratchFolder();
const path = join(folder, "disk");
const SIZE_BYTES = 20 * CHUNK_BYTES + 1000;
const HEAD_BYTES = 4096;

let recording: HookedStore;
let repository: Repository;
/** With a cache, and a log that is kept. */
let context: Context;
let lines: string[];
let volume: Uint8Array;
let turn = 0;

/** Of the newest snapshot. */
let night: number;

beforeEach(async () => {
  recording = new HookedStore(newStore());
  repository = through(await newRepository(recording), recording);
  const kept = warnings();
  lines = kept.lines;
  context = testContext({ cacheRoot: join(folder, `cache-${turn++}`), log: kept.log });
  fs.rmSync(path, { force: true });
  volume = new Uint8Array();
  night = 0;
  await next({ to: "s0", sizeBytes: SIZE_BYTES, extents: [data(0, noise(1, 10 * CHUNK_BYTES))] });
});

async function next(diff: TestDiff): Promise<void> {
  volume = applied(volume, diff);
  await backUp(repository, [diff], { context });
}

/** An incremental backup of a few bytes of one chunk. */
async function nextSmall(): Promise<void> {
  const [from, to] = [`s${night}`, `s${++night}`];
  await next({ from, to, sizeBytes: SIZE_BYTES, extents: [data(3 * CHUNK_BYTES + 50, noise(night, 100))] });
}

const restored = (options: Parameters<typeof restoreFile>[2] = {}) =>
  restoreFile(repository, path, { context, ...options });

const cacheFile = (place: { project?: string; volume?: string } = {}) =>
  pathOf(pageCachePath(
    { root: context.cacheRoot!, repositoryId: repository.id, project: place.project ?? PROJECT },
    place.volume ?? VOLUME,
  ));

/** Chunks and pages that are read from the store while `work` runs. */
async function reads(work: () => Promise<unknown>): Promise<number> {
  const before = recording.keys("get").length;
  await work();
  return recording.keys("get").slice(before).filter((key) => key.startsWith(CHUNKS)).length;
}

describe("with what a host remembers", () => {
  test("backup() reads no page and no chunk for increments of chunks that were covered in part before", async () => {
    // The chunk's content is remembered once it was put together.
    expect(await reads(nextSmall)).toBe(1);
    expect(await reads(nextSmall)).toBe(0);
    expect(await reads(nextSmall)).toBe(0);
    expect(await bytesOf(repository)).toEqual(volume);
  });

  test("restore() reads no page when the target has all", async () => {
    fs.writeFileSync(path, volume);
    expect(await reads(restored)).toBe(0);
  });

  test("restore() reads no page for the next backup or restore when it was the first on the host", async () => {
    const fresh = { context: { ...context, cacheRoot: join(folder, `cache-${turn++}`) } };
    expect(await reads(() => restored(fresh))).toBe(10 + 1);
    expect(await reads(() => restored({ ...fresh, trustCache: false }))).toBe(0);
    const diff = { from: "s0", to: "s1", sizeBytes: SIZE_BYTES, extents: [data(0, noise(9, CHUNK_BYTES))] };
    // The leaves of the chunk that the diff changes.
    expect(await reads(() => backUp(repository, [diff], fresh))).toBe(1);
  });

  test("restore() of an older point keeps what is remembered of the newest", async () => {
    await nextSmall();
    await restored({ point: "s0" });
    fs.rmSync(path);
    fs.writeFileSync(path, volume);
    expect(await reads(restored)).toBe(0);
  });

  test("without a cache everything is read", async () => {
    fs.writeFileSync(path, volume);
    expect(await reads(() => restored({ context: testContext() }))).toBe(1);
  });
});

const DAMAGED = "the local hash cache is damaged; rebuilding it";
const overwrite = (bytes: Uint8Array | string) => fs.writeFileSync(cacheFile(), bytes);
const flipAt = (bit: number) => overwrite(flipBit(fs.readFileSync(cacheFile()), bit));

/** The memory of another volume, project or repository in the place of this one. */
async function swapFor(place: { project?: string; volume?: string }): Promise<void> {
  const diff = { to: "x", sizeBytes: SIZE_BYTES, extents: [data(0, noise(8, 12 * CHUNK_BYTES))] };
  await backUp(repository, [diff], { context, ...place });
  fs.copyFileSync(cacheFile(place), cacheFile());
}

async function swapForRepository(): Promise<void> {
  const other = await newRepository();
  const elsewhere = { ...context, cacheRoot: join(folder, `cache-${turn++}`) };
  await backUp(other, [{ to: "x", sizeBytes: SIZE_BYTES, extents: [data(0, volume)] }], {
    context: elsewhere,
  });
  const place = { root: elsewhere.cacheRoot, repositoryId: other.id, project: PROJECT };
  fs.copyFileSync(pathOf(pageCachePath(place, VOLUME)), cacheFile());
}

const pick = random(4);
const LIES: [what: string, lie: () => void | Promise<void>][] = [
  ["has another bit in its head", () => flipAt((36 + 5) * 8)],
  ["has another bit in its sum", () => flipAt(7)],
  ["has another bit in an id", () => flipAt((HEAD_BYTES + 3 * 32 + 7) * 8)],
  ["has an id where there are zeros", () => flipAt((HEAD_BYTES + 15 * 32 + 7) * 8)],
  ...Array.from({ length: 6 }, (_, i): [string, () => void] => {
    return [`has another bit anywhere (${i})`, () => flipAt(pick(fs.statSync(cacheFile()).size * 8))];
  }),
  ["is cut in its head", () => fs.truncateSync(cacheFile(), 100)],
  ["is cut in its ids", () => fs.truncateSync(cacheFile(), HEAD_BYTES + 1000)],
  ["is empty", () => overwrite("")],
  ["was made by another version", () => overwrite("VARVE-HASHES 2\n".padEnd(50_000, "\0"))],
  ["is another volume's", () => swapFor({ volume: "other" })],
  ["is another project's", () => swapFor({ project: "other" })],
  ["is another repository's", swapForRepository],
];

describe("a hash cache that lies", () => {
  test.each(LIES)("is told in one line and made anew by restore() when it %s", async (_, lie) => {
    await lie();
    await restored();
    expect(lines).toEqual([DAMAGED]);
    expectContent(path, volume);
    fs.utimesSync(path, 1, 1);
    expect(await reads(restored)).toBe(0);
    expect(lines).toEqual([DAMAGED]);
  });

  test.each(LIES)("is told in one line and made anew by backup() when it %s", async (_, lie) => {
    await lie();
    await nextSmall();
    expect(lines).toEqual([DAMAGED]);
    expect(await reads(nextSmall)).toBe(0);
    expect(lines).toEqual([DAMAGED]);
    expect(await bytesOf(repository)).toEqual(volume);
    expect(await bytesOf(repository, { point: "s1" })).not.toEqual(volume);
  });

  test("is of use as far as it goes when it is an old copy that was put back", async () => {
    const old = fs.readFileSync(cacheFile());
    await nextSmall();
    await nextSmall();
    overwrite(old);
    await restored();
    expectContent(path, volume);
    overwrite(old);
    await nextSmall();
    expect(await bytesOf(repository)).toEqual(volume);
    expect(await reads(nextSmall)).toBe(0);
    expect(lines).toEqual([]);
  });

  test("does no harm when it is of a backup that was forgotten", async () => {
    await nextSmall();
    const keys = await Array.fromAsync(repository.store.list(`projects/${PROJECT}/volumes/`));
    await repository.store.delete([keys.at(-1)!.key]);
    await restored();
    expect(await bytesOf(repository)).toEqual(new Uint8Array(fs.readFileSync(path)));
    expect(lines).toEqual([]);
  });

  test("is said to be unwritable, and the work done, when its folder cannot be made", async () => {
    fs.rmSync(context.cacheRoot!, { recursive: true });
    fs.writeFileSync(context.cacheRoot!, "a file");
    await restored();
    expectContent(path, volume);
    expect(lines).toEqual([expect.stringMatching(/^could not write the local hash cache: .*EEXIST/)]);
  });
});

describe("a chunk cache that lies", () => {
  const files = () => {
    const chunks = join(context.cacheRoot!, repository.id, PROJECT, "chunks");
    return fs.readdirSync(chunks).map((name) => join(chunks, name));
  };
  const LINE = "a chunk in the local cache is damaged; downloading it";

  test.each<[string, (bytes: Buffer) => Uint8Array]>([
    ["has another bit in its header", (bytes) => flipBit(bytes, 13)],
    ["has another bit in its content", (bytes) => flipBit(bytes, bytes.length * 4)],
    ["is cut", (bytes) => bytes.subarray(0, bytes.length - 1)],
    ["is empty", () => new Uint8Array()],
    ["is far too long", (bytes) => Buffer.concat([bytes, new Uint8Array(10 * CHUNK_BYTES)])],
  ])("is told in a line for each object, and these read from the store, when it %s", async (_, lie) => {
    await nextSmall();
    for (const file of files()) fs.writeFileSync(file, lie(fs.readFileSync(file)));
    // The patch, and the whole chunk under it.
    expect(await reads(nextSmall)).toBe(2);
    expect(lines).toEqual([LINE, LINE]);
    expect(await reads(nextSmall)).toBe(0);
    expect(lines).toEqual([LINE, LINE]);
    expect(await bytesOf(repository)).toEqual(volume);
  });

  test("is not believed when it holds another chunk", async () => {
    await nextSmall();
    const [from, to] = [`s${night}`, `s${++night}`];
    await next({ from, to, sizeBytes: SIZE_BYTES, extents: [data(5 * CHUNK_BYTES + 5, noise(3, 5))] });
    const contents = files().map((file) => fs.readFileSync(file));
    files().forEach((file, i) => fs.writeFileSync(file, contents[(i + 1) % contents.length]!));
    await nextSmall();
    expect(lines).toEqual([LINE, LINE]);
    expect(await bytesOf(repository)).toEqual(volume);
  });
});

describe("a record of a file that lies", () => {
  const records = () => join(context.cacheRoot!, "files");

  test("does no harm when it is another file's", async () => {
    await restored();
    const mine = fs.readdirSync(records())[0]!;
    const other = join(folder, "other");
    await restoreFile(repository, other, { context });
    const theirs = fs.readdirSync(records()).find((name) => name !== mine)!;
    fs.renameSync(join(records(), theirs), join(records(), mine));
    fs.writeFileSync(path, noise(9, SIZE_BYTES));
    expect(await restored()).toMatchObject({ way: "compare" });
    expectContent(path, volume);
  });

  test("does no harm when a bit of it is another", async () => {
    await restored();
    const [name] = fs.readdirSync(records()) as [string];
    const file = join(records(), name);
    const bytes = fs.readFileSync(file);
    const next = random(3);
    for (let turn = 0; turn < 25; turn++) {
      const bit = next((bytes.length - 1) * 8);
      fs.writeFileSync(file, flipBit(bytes, bit));
      const { way } = await restored({ dryRun: true });
      expect({ bit, way }).toEqual({ bit, way: "compare" });
    }
  });
});
