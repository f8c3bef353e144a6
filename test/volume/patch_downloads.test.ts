/** What backup() downloads for block patches: leaves where it must, content where a block is cut, nothing where it remembers. */
import { beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { Context } from "../../src/context.ts";
import type { Repository } from "../../src/project/repository.ts";
import { sealedBytes } from "../../src/codec/seal.ts";
import { BLOCK_BYTES, leavesBytes } from "../../src/format/limits.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  PROJECT,
  testContext,
  through,
  VOLUME,
} from "../kit/engine.ts";
import { HookedStore, type StoreCall } from "../kit/hooked_store.ts";
import { data, type TestExtent } from "../kit/memory_source.ts";
import { block, objectKey, PATCH_BLOCKS, placesOf, written } from "../kit/patches.ts";
import { scratchFolder } from "../kit/scratch.ts";

const FIRST = noiseChunks(1, 2, 3);
/** Of a whole chunk's object: header, leaves, and what sealing adds. */
const FRONT_BYTES = 32 + leavesBytes(CHUNK_BYTES) + 28;
const folder = scratchFolder();

let repository: Repository;
let store: HookedStore;
let volume: Uint8Array;
let points = 0;
let caches = 0;
let warm: Context;
const cold = testContext();
beforeEach(async () => {
  store = new HookedStore(newStore());
  repository = through(await newRepository(store), store);
  warm = testContext({ cacheRoot: join(folder, `cache-${caches++}`) });
  volume = FIRST;
  await backUp(repository, [{ to: `s${++points}`, sizeBytes: volume.length, extents: [data(0, FIRST)] }], {
    context: warm,
  });
});

/** An increment, and what it downloaded of chunks and patches. */
async function next(
  context: Context,
  ...extents: TestExtent[]
): Promise<{ report: BackupReport; gets: StoreCall[] }> {
  const before = store.calls.length;
  const diff = { from: `s${points}`, to: `s${++points}`, sizeBytes: volume.length, extents };
  const [report] = await backUp(repository, [diff], { context });
  const calls = store.calls.slice(before);
  volume = written(volume, extents);
  expect(Buffer.compare(await bytesOf(repository), volume)).toBe(0);
  const pages = await pageKeys();
  const gets = calls.filter(({ op, key }) => op === "get" && key.startsWith(CHUNKS) && !pages.has(key));
  return { report: report!, gets };
}

/** What is no chunk and no patch of the last two points. */
async function pageKeys(): Promise<Set<string>> {
  const chunks = new Set<string>();
  for (const point of ["latest", "~1"]) {
    for (const place of await placesOf(repository, point)) {
      for (const ref of [place!.object, place!.base]) if (ref) chunks.add(objectKey(ref));
    }
  }
  const all = await Array.fromAsync(store.list(CHUNKS));
  return new Set(all.map(({ key }) => key).filter((key) => !chunks.has(key)));
}

const frontOf = (key: string): StoreCall => ({ op: "get", key, range: { offset: 0, length: FRONT_BYTES } });
/** As much as a chunk can have, and a byte more that tells of what is longer. */
const WHOLE = { offset: 0, length: sealedBytes(leavesBytes(CHUNK_BYTES), CHUNK_BYTES) + 1 };
const allOf = (key: string): StoreCall => ({ op: "get", key, range: WHOLE });

describe("backup() of whole blocks", () => {
  test("reads the front of each touched chunk on a cold host, and no content", async () => {
    const keys = (await placesOf(repository)).map((place) => objectKey(place!.object));
    const { report, gets } = await next(cold, block(0, 1, 100), block(0, 9, 200), block(2, 3, 300));
    expect(report.chunks.patched).toBe(2);
    expect(gets).toEqual([frontOf(keys[0]!), frontOf(keys[2]!)]);
    expect(report.downloaded_bytes).toBe(2 * FRONT_BYTES);
  });

  test("reads nothing on a warm host: not for the first patch, not for the next ones", async () => {
    for (let turn = 0; turn < 4; turn++) {
      const { report, gets } = await next(warm, block(0, turn % PATCH_BLOCKS, 100 + turn), block(1, 5, turn));
      expect(report.chunks.patched).toBe(2);
      expect([gets, report.downloaded_bytes]).toEqual([[], 0]);
    }
  });

  test("reads on a cold host the earlier patch, whose blocks it needs", async () => {
    await next(cold, block(0, 1, 100));
    const [place] = await placesOf(repository);
    const { report, gets } = await next(cold, block(0, 2, 200));
    expect(report.chunks.patched).toBe(1);
    expect(gets).toEqual([frontOf(objectKey(place!.base!)), allOf(objectKey(place!.object))]);
  });

  test("remembers leaves that it had to read", async () => {
    const host = testContext({ cacheRoot: join(folder, `other-${points}`) });
    expect((await next(host, block(0, 1, 100))).gets).toHaveLength(1);
    expect((await next(host, block(0, 2, 200))).gets).toEqual([]);
  });

  test("reads nothing of an unchanged chunk that is sent again, and leaves of one that comes whole", async () => {
    const keys = (await placesOf(repository)).map((place) => objectKey(place!.object));
    const changed = written(FIRST, [block(1, 1, 100)]).slice(0, 2 * CHUNK_BYTES);
    const { report, gets } = await next(cold, data(0, changed));
    expect(report.chunks).toMatchObject({ new: 0, patched: 1, reused: 1 });
    expect(gets).toEqual([frontOf(keys[1]!)]);
  });

  test("reads the content only once it is too much for a patch", async () => {
    const [place] = await placesOf(repository);
    const key = objectKey(place!.object);
    const extents = Array.from({ length: PATCH_BLOCKS + 1 }, (_, index) => block(0, 2 * index, index));
    const { report, gets } = await next(cold, ...extents);
    expect(report.chunks.new).toBe(1);
    expect(gets).toEqual([frontOf(key), allOf(key)]);
  });
});

describe("backup() of bytes inside a block", () => {
  const cut = (at: number, seed: number) => data(at, noise(seed, 100));

  test("reads the content, and stores a patch all the same", async () => {
    const [place] = await placesOf(repository);
    const key = objectKey(place!.object);
    const { report, gets } = await next(cold, cut(5 * BLOCK_BYTES + 7, 100));
    expect(report.chunks.patched).toBe(1);
    expect(gets.toSorted((a, b) => b.range!.length - a.range!.length)).toEqual([
      allOf(key),
      frontOf(key),
    ]);
  });

  test("takes the other bytes of the block from the patch before", async () => {
    await next(cold, block(0, 5, 100));
    const { report } = await next(cold, cut(5 * BLOCK_BYTES + 7, 200), cut(6 * BLOCK_BYTES - 50, 300));
    expect(report.chunks.patched).toBe(1);
  });

  test("downloads the content once, on a host that remembers", async () => {
    const host = testContext({ cacheRoot: join(folder, `cut-${points}`) });
    await next(host, cut(7, 100));
    const { report, gets } = await next(host, cut(9, 200));
    expect(report.chunks.patched).toBe(1);
    expect(gets).toEqual([]);
  });
});

describe("backup() with a leaf cache that is not right", () => {
  const path = (context: Context) => {
    return join(context.cacheRoot!, repository.id, PROJECT, "volumes", VOLUME, ".leaves");
  };
  const DAMAGE: Record<string, (path: string, bytes: Buffer) => void> = {
    "is torn": (path, bytes) => fs.writeFileSync(path, bytes.subarray(0, FRONT_BYTES - 100)),
    "has a flipped bit": (path, bytes) => fs.writeFileSync(path, bytes.fill(bytes[200]! ^ 1, 200, 201)),
    "is of another position": (path, bytes) => fs.writeFileSync(path, bytes.subarray(FRONT_BYTES)),
    "is zeros": (path, bytes) => fs.writeFileSync(path, bytes.fill(0)),
    "is no object at all": (path, bytes) => fs.writeFileSync(path, bytes.fill(0xee)),
    "is of another project": (path) => {
      const other = join(folder, "foreign");
      fs.copyFileSync(other, path);
    },
    "is empty": (path) => fs.writeFileSync(path, ""),
    "is away": (path) => fs.rmSync(path),
  };

  for (const [name, damage] of Object.entries(DAMAGE)) {
    test(`reads the leaves again where it ${name}`, async () => {
      await backUp(repository, [{ sizeBytes: FIRST.length, extents: [data(0, FIRST)] }], {
        context: warm,
        project: "other",
      });
      fs.copyFileSync(path(warm).replace(`/${PROJECT}/`, "/other/"), join(folder, "foreign"));
      damage(path(warm), fs.readFileSync(path(warm)));
      const { report, gets } = await next(warm, block(0, 3, 100));
      expect([report.chunks.patched, gets.length]).toEqual([1, 1]);
      expect((await next(warm, block(0, 4, 200))).gets).toEqual([]);
    });
  }
});
