/** The flat file of a volume's ids: round trips, and every way in which it can be damaged. */
import { expect, test } from "bun:test";
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PageCacheFile, type PageCacheHead, writePageCache } from "../../src/cache/page_cache_file.ts";
import { EntryList, wholeAt } from "../../src/format/entries.ts";
import { ID_BYTES, LEASE_ID_BYTES, PAGE_CHUNKS } from "../../src/format/limits.ts";
import { flipBit } from "../kit/damage.ts";
import { noise } from "../kit/engine.ts";
import { random } from "../kit/random.ts";
import { cached } from "../kit/cache_path.ts";
import { scratchFolder } from "../kit/scratch.ts";

const folder = scratchFolder();
const path = join(folder, "cache");
const HEAD_BYTES = 4096;
const INDEX_BYTES = 12;
const HEAD: PageCacheHead = {
  repository: "r",
  project: "acme",
  volume: "rbd/vm-1",
  backup: "20260101T000000000Z-00000001",
  pages: 3,
};
/** Some with a suffix, and a page of zeros between two others. */
const PAGES = [pageOf(1).encode(), undefined, pageOf(3).encode()];

function pageOf(seed: number): EntryList {
  const next = random(seed);
  const entries = new EntryList(PAGE_CHUNKS);
  for (let i = 0; i < PAGE_CHUNKS; i++) {
    if (next(3) === 0) continue;
    const lease = next(50) === 0 ? noise(seed * 5000 + i, LEASE_ID_BYTES) : undefined;
    const ref = { id: noise(seed * 10_000 + i, ID_BYTES), lease };
    entries.set(i, next(9) === 0 ? { id: ref.id, object: ref, base: ref } : wholeAt(ref));
  }
  return entries;
}

async function* pages() {
  yield* PAGES;
}

/** What the file gives: the head and all pages, or that it is damaged. */
async function readAll(file = path) {
  const cache = await PageCacheFile.open(cached(file));
  if (cache === undefined || cache === "damaged") return cache;
  try {
    const { pages } = cache.head;
    return await Promise.all(Array.from({ length: pages }, async (_, i) => await cache.page(i)));
  } finally {
    await cache.close();
  }
}

test("page() gives every entry that was written, and none past the end", async () => {
  await writePageCache(cached(path), HEAD, pages());
  expect(readFileSync(path).length).toBeLessThan(HEAD_BYTES + 3 * PAGE_CHUNKS * (ID_BYTES + 30));
  const cache = await PageCacheFile.open(cached(path)) as PageCacheFile;
  expect(cache.head).toMatchObject(HEAD);
  expect(await cache.page(3)).toBeUndefined();
  await cache.close();
  expect(await readAll()).toEqual(PAGES);
});

test("open() gives nothing when there is no file", async () => {
  expect(await PageCacheFile.open(cached(join(folder, "none")))).toBeUndefined();
});

test("open() says damaged when any bit of the head or of the index is turned over", async () => {
  await writePageCache(cached(path), HEAD, pages());
  const bytes = readFileSync(path);
  const next = random(11);
  const inHead = Array.from({ length: 200 * 8 }, (_, bit) => bit);
  const elsewhere = Array.from({ length: 100 }, () => 200 * 8 + next((HEAD_BYTES - 200) * 8));
  const inIndex = Array.from({ length: 3 * INDEX_BYTES * 8 }, (_, bit) => HEAD_BYTES * 8 + bit);
  const damaged = join(folder, "flipped");
  for (const bit of [...inHead, ...elsewhere, ...inIndex]) {
    writeFileSync(damaged, flipBit(bytes, bit));
    expect({ bit, opened: await PageCacheFile.open(cached(damaged)) }).toEqual({ bit, opened: "damaged" });
  }
});

test("page() gives other entries when a bit of its ids is turned over, and the other pages as they were", async () => {
  await writePageCache(cached(path), HEAD, pages());
  writeFileSync(path, flipBit(readFileSync(path), (readFileSync(path).length - 100) * 8));
  const read = await readAll() as (Uint8Array | undefined)[];
  expect(read.slice(0, 2)).toEqual(PAGES.slice(0, 2));
  expect(read[2]).not.toEqual(PAGES[2]!);
});

test("open() says damaged when the file is cut anywhere", async () => {
  await writePageCache(cached(path), HEAD, pages());
  const { length } = readFileSync(path);
  const cut = join(folder, "cut");
  for (const bytes of [0, 1, 31, 32, 36, 100, HEAD_BYTES - 1, HEAD_BYTES, length / 2 | 0, length - 1]) {
    copyFileSync(path, cut);
    truncateSync(cut, bytes);
    expect({ bytes, opened: await PageCacheFile.open(cached(cut)) }).toEqual({ bytes, opened: "damaged" });
  }
});

test("open() says damaged when the file is another thing", async () => {
  for (const text of ["", "{}", "VARVE2\n".padEnd(20_000, "x"), "\0".repeat(200_000)]) {
    writeFileSync(path, text);
    expect(await PageCacheFile.open(cached(path))).toBe("damaged");
  }
});

test("writePageCache() leaves the old cache when a page cannot be had", async () => {
  await writePageCache(cached(path), HEAD, pages());
  async function* failing() {
    yield PAGES[0];
    throw new Error("store gone");
  }
  const failed = await writePageCache(
    cached(path),
    { ...HEAD, backup: "20260102T000000000Z-00000000" },
    failing(),
  ).catch((error) => error);
  expect(failed).toEqual(new Error("store gone"));
  expect(await readAll()).toEqual(PAGES);
});
