/** The leaf cache: a slot for each position, and what of it may be lost. What comes out, others verify. */
import { describe, expect, test } from "bun:test";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LeafCache } from "../../src/cache/leaf_cache.ts";
import { noise } from "../kit/engine.ts";
import { cached } from "../kit/cache_path.ts";
import { scratchFolder } from "../kit/scratch.ts";

const SLOT_BYTES = 316;
/** Positions beyond it share slots: 65,536 of them. */
const MAX_SLOTS = 65_536;
const folder = scratchFolder();
let files = 0;

async function newCache(path = join(folder, `volume-${files++}`, ".leaves")) {
  return { path, cache: (await LeafCache.open(cached(path), SLOT_BYTES))! };
}

const begins = (bytes: Uint8Array | undefined, front: Uint8Array) => {
  return bytes !== undefined && Buffer.compare(bytes.subarray(0, front.length), front) === 0;
};

describe("LeafCache", () => {
  test("gives back what was put at a position, also in the next run", async () => {
    const { path, cache } = await newCache();
    const fronts = [0, 1, 7].map((position) => ({
      position,
      front: noise(1 + position, SLOT_BYTES - position),
    }));
    for (const { position, front } of fronts) await cache.put(position, front);
    for (const { position, front } of fronts) expect(begins(await cache.get(position), front)).toBe(true);
    await cache[Symbol.asyncDispose]();
    const { cache: again } = await newCache(path);
    for (const { position, front } of fronts) expect(begins(await again.get(position), front)).toBe(true);
    await again[Symbol.asyncDispose]();
  });

  test("gives no front where nothing was put, before and behind the file's end", async () => {
    const { cache } = await newCache();
    await cache.put(3, noise(1, SLOT_BYTES));
    expect((await cache.get(0))!.every((byte) => byte === 0)).toBe(true);
    expect(await cache.get(9)).toEqual(new Uint8Array(0));
    await cache[Symbol.asyncDispose]();
  });

  test("takes no room for positions between", async () => {
    const { path, cache } = await newCache();
    await cache.put(MAX_SLOTS - 1, noise(1, SLOT_BYTES));
    expect(statSync(path).size).toBe(MAX_SLOTS * SLOT_BYTES);
    expect(statSync(path).blocks * 512).toBeLessThan(64 * 1024);
    await cache[Symbol.asyncDispose]();
  });

  test("shares the slots of positions that are too many: the last one stays", async () => {
    const { path, cache } = await newCache();
    const [first, second] = [noise(1, SLOT_BYTES), noise(2, SLOT_BYTES)];
    await cache.put(5, first);
    await cache.put(5 + MAX_SLOTS, second);
    expect(begins(await cache.get(5), second)).toBe(true);
    expect(begins(await cache.get(5 + MAX_SLOTS), second)).toBe(true);
    expect(statSync(path).size).toBe(6 * SLOT_BYTES);
    await cache[Symbol.asyncDispose]();
  });

  test("gives what is left of a torn file", async () => {
    const { path, cache } = await newCache();
    await cache.put(1, noise(1, SLOT_BYTES));
    truncateSync(path, SLOT_BYTES + 10);
    expect(await cache.get(1)).toEqual(noise(1, SLOT_BYTES).slice(0, 10));
    await cache[Symbol.asyncDispose]();
  });

  test("is none where there cannot be a file, and says nothing where it cannot be read or written any more", async () => {
    const path = join(folder, "file");
    writeFileSync(path, "");
    expect(await LeafCache.open(cached(join(path, ".leaves")), SLOT_BYTES)).toBeUndefined();
    const { cache } = await newCache();
    await cache[Symbol.asyncDispose]();
    await cache.put(0, noise(1, SLOT_BYTES));
    expect(await cache.get(0)).toBeUndefined();
    await cache[Symbol.asyncDispose]();
  });
});
