/** restore() of chunks that are stored as block patches: what it downloads for them, from the store and onto what targets. */
import { beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Repository } from "../../../src/project/repository.ts";
import { BLOCK_BYTES } from "../../../src/format/limits.ts";
import {
  backUp,
  CHUNK_BYTES,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  restoreTo,
  testContext,
  through,
} from "../../kit/engine.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { data } from "../../kit/memory_source.ts";
import { scratchFolder } from "../../kit/scratch.ts";

const CHUNKS = 24;
const caches = scratchFolder();

let repository: Repository;
let store: HookedStore;
beforeEach(async () => {
  repository = await newRepository(newStore());
  store = new HookedStore(repository.store);
  repository = through(repository, store);
});

/** Contents of the points: each has one more block changed in every chunk. */
async function history(first: Uint8Array, points: number): Promise<Uint8Array[]> {
  const volumes = [first];
  await backUp(repository, [{ to: "s0", sizeBytes: first.length, extents: [data(0, first)] }]);
  for (let point = 1; point < points; point++) {
    const volume = volumes.at(-1)!.slice();
    const extents = Array.from({ length: first.length / CHUNK_BYTES }, (_, chunk) => {
      const offset = chunk * CHUNK_BYTES + point * BLOCK_BYTES;
      const block = noise(1000 * point + chunk, BLOCK_BYTES);
      volume.set(block, offset);
      return data(offset, block);
    });
    const diff = { from: `s${point - 1}`, to: `s${point}`, sizeBytes: first.length, extents };
    const [report] = await backUp(repository, [diff]);
    expect(report!.chunks.patched).toBe(extents.length);
    volumes.push(volume);
  }
  return volumes;
}

/** Chunks and patches that `work` downloads, by key. */
async function downloads(work: () => Promise<void>): Promise<string[]> {
  const before = store.calls.length;
  await work();
  const keys = store.calls.slice(before).filter(({ op }) => op === "get").map(({ key }) => key);
  return keys.filter((key) => key.includes("/chunks/"));
}

async function expectPoint(point: string, volume: Uint8Array, content?: Uint8Array): Promise<string[]> {
  return await downloads(async () => {
    const context = testContext({ cacheRoot: fs.mkdtempSync(join(caches, "c-")) });
    const options = { point, context, ...(content === undefined ? {} : { content }) };
    const { target } = await restoreTo(repository, options);
    expect(Buffer.compare(target.bytes, volume)).toBe(0);
  });
}

describe("restore() of patches", () => {
  test("downloads a whole chunk once when many positions have patches over it", async () => {
    const volumes = await history(noiseChunks(...Array<number>(CHUNKS).fill(7)), 2);
    // The whole chunk, a patch for each position, the page.
    const keys = await expectPoint("s1", volumes[1]!);
    expect(keys.length).toBe(1 + CHUNKS + 1);
    expect(new Set(keys).size).toBe(keys.length);
  });

  test("downloads a chunk once when many positions have it", async () => {
    const volumes = await history(noiseChunks(...Array<number>(CHUNKS).fill(7)), 1);
    expect((await expectPoint("s0", volumes[0]!)).length).toBe(1 + 1);
  });

  test("downloads only the patches when the target differs in nothing else", async () => {
    const volumes = await history(noise(1, CHUNKS * CHUNK_BYTES), 4);
    for (const from of [0, 1, 2]) {
      expect((await expectPoint("s3", volumes[3]!, volumes[from])).length).toBe(CHUNKS + 1);
    }
  });

  test("is right when the target differs in other blocks, and in all", async () => {
    const volumes = await history(noise(1, CHUNKS * CHUNK_BYTES), 4);
    for (
      const content of [volumes[3]!, noise(99, CHUNKS * CHUNK_BYTES), new Uint8Array(volumes[0]!.length)]
    ) {
      await expectPoint("s1", volumes[1]!, content);
      await expectPoint("s0", volumes[0]!, content);
    }
  });
});
