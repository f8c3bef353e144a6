/** The bounded folder of sealed chunks. */
import { beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ChunkCache } from "../../src/cache/chunk_cache.ts";
import { noise } from "../kit/engine.ts";
import { scratchFolder } from "../kit/scratch.ts";

const folder = scratchFolder();
const SIZE_BYTES = 1000;
/** Long ago, so that what a test uses now is newer. */
const LONG_AGO_S = 1_000_000_000;

/** What was said to be damaged. */
let dropped: string[] = [];
beforeEach(() => void (dropped = []));

function open(name: string, maxBytes?: number): ChunkCache {
  const onDamage = (path: string) => void dropped.push(path);
  return new ChunkCache(
    { root: folder, path: name },
    maxBytes === undefined ? { onDamage } : { onDamage, maxBytes },
  );
}

/** Ten chunks, one a second, each put by a run of its own: one run alone puts no more than fit. */
async function filled(name: string, maxBytes: number): Promise<ChunkCache> {
  for (let i = 0; i < 10; i++) {
    await open(name, maxBytes).put(`chunks/ab/c${i}`, noise(i, SIZE_BYTES));
    utimesSync(join(folder, name, `c${i}`), LONG_AGO_S + i, LONG_AGO_S + i);
  }
  return open(name, maxBytes);
}

const namesIn = (name: string) => readdirSync(join(folder, name)).toSorted();

test("get() gives what was put, and nothing when there is nothing", async () => {
  const cache = open("get");
  expect(await cache.get("chunks/ab/one")).toBeUndefined();
  await cache.put("chunks/ab/one", noise(1, SIZE_BYTES));
  expect(Buffer.from((await cache.get("chunks/ab/one"))!).equals(noise(1, SIZE_BYTES))).toBe(true);
  expect(statSync(join(folder, "get", "one")).mode & 0o777).toBe(0o600);
});

test("drop() removes and tells it", async () => {
  const cache = open("drop");
  await cache.put("chunks/ab/one", noise(1, SIZE_BYTES));
  await cache.drop("chunks/ab/one");
  expect(await cache.get("chunks/ab/one")).toBeUndefined();
  expect(dropped).toEqual([join(folder, "drop", "one")]);
});

test("trim() keeps the newest that fit when there are too many", async () => {
  const cache = await filled("trim", 3 * SIZE_BYTES + SIZE_BYTES / 2);
  await cache[Symbol.asyncDispose]();
  expect(namesIn("trim")).toEqual(["c7", "c8", "c9"]);
});

test("trim() keeps an old one when it was used since", async () => {
  const cache = await filled("used", 3 * SIZE_BYTES);
  await cache.get("chunks/ab/c0");
  await cache[Symbol.asyncDispose]();
  expect(namesIn("used")).toEqual(["c0", "c8", "c9"]);
});

test("trim() removes nothing when all fit, and none is needed", async () => {
  const cache = await filled("all", 10 * SIZE_BYTES);
  await cache[Symbol.asyncDispose]();
  expect(namesIn("all")).toHaveLength(10);
  await open("never made")[Symbol.asyncDispose]();
});

test("put() keeps no more than may stay when one run puts too many", async () => {
  const cache = open("one run", 3 * SIZE_BYTES + SIZE_BYTES / 2);
  for (let i = 0; i < 10; i++) await cache.put(`chunks/ab/c${i}`, noise(i, SIZE_BYTES));
  expect(namesIn("one run")).toEqual(["c0", "c1", "c2"]);
});

test("put() does not fail when the cache cannot be written", async () => {
  writeFileSync(join(folder, "a file"), "");
  await open("a file").put("chunks/ab/one", noise(1, SIZE_BYTES));
  mkdirSync(join(folder, "shut"));
  chmodSync(join(folder, "shut"), 0o500);
  await open("shut/one").put("chunks/ab/one", noise(1, SIZE_BYTES));
});
