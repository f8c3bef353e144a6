/** copy() of block patches: they and what they are over go as they are, once, and never under a key that is condemned. */
import { beforeEach, describe, expect, test } from "bun:test";
import { copy, type CopyReport } from "../../../src/engine/copy/copy.ts";
import { openRepository, type Repository } from "../../../src/project/repository.ts";
import { verify } from "../../../src/engine/verify/verify.ts";
import type { MemoryStore } from "../../../src/store/memory.ts";
import { flipBit } from "../../kit/damage.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  emptyRepository,
  keysOf,
  MANIFESTS,
  newRepository,
  newStore,
  noiseChunks,
  PROJECT,
  testContext,
} from "../../kit/engine.ts";
import { data } from "../../kit/memory_source.ts";
import { block, objectKey, placesOf, written } from "../../kit/patches.ts";
import { condemn } from "../../kit/plans.ts";
const FIRST = noiseChunks(1, 2, 3);
const CHANGES = [block(0, 4, 100), block(1, 9, 200)];
const SECOND = written(FIRST, CHANGES);
const SIZE = FIRST.length;

let source: Repository;
let to: MemoryStore;
beforeEach(async () => {
  source = await newRepository();
  await emptyRepository(to = newStore());
  await backUp(source, [{ to: "a", sizeBytes: SIZE, extents: [data(0, FIRST)] }]);
  await backUp(source, [{ from: "a", to: "b", sizeBytes: SIZE, extents: CHANGES }]);
});

async function copyAll(point?: string): Promise<CopyReport> {
  const scope = point === undefined ? {} : { volume: "rbd/vm-1", point };
  return await copy(source, { project: PROJECT, secrets: [], to, ...scope }, testContext());
}

async function objects(repository: Repository): Promise<Map<string, string>> {
  const keys = await keysOf(repository.store, CHUNKS);
  const bytes = await Promise.all(keys.map((key) => repository.store.get(key)));
  return new Map(keys.map((key, i) => [key, Buffer.from(bytes[i]!).toString("hex")]));
}

/** The point is there and whole, and its entries are read back. */
async function expectPoint(point: string, content: Uint8Array): Promise<void> {
  const target = await openRepository(to, testContext());
  expect(Buffer.compare(await bytesOf(target, { point }), content)).toBe(0);
  const options = { project: PROJECT, volume: "rbd/vm-1", point, secrets: [] } as const;
  const { findings } = await verify(target, { ...options, sample: { kind: "all" } }, testContext());
  expect(findings).toEqual([]);
}

describe("copy() of patches", () => {
  test("copies them and what they are over byte for byte", async () => {
    const report = await copyAll();
    const copied = await objects(await openRepository(to, testContext()));
    expect(copied).toEqual(await objects(source));
    // Three whole chunks, two patches and two pages.
    expect(report).toMatchObject({ damaged: [], objects: { copied: 7 } });
    await expectPoint("a", FIRST);
    await expectPoint("b", SECOND);
  });

  test("copies what a patch is over also where only the later point is copied", async () => {
    await copyAll("b");
    expect((await placesOf(await openRepository(to, testContext())))[0]!.base).toBeDefined();
    await expectPoint("b", SECOND);
  });

  test("copies nothing again, and of a next point only what is new", async () => {
    await copyAll();
    const before = await objects(await openRepository(to, testContext()));
    expect(await copyAll()).toMatchObject({ points: { copied: 0, present: 2 }, objects: { copied: 0 } });
    const change = block(2, 1, 300);
    await backUp(source, [{ from: "b", to: "c", sizeBytes: SIZE, extents: [change] }]);
    expect(await copyAll()).toMatchObject({ points: { copied: 1 }, objects: { copied: 2 } }); // a patch, a page
    expect(await objects(await openRepository(to, testContext()))).toEqual(await objects(source));
    expect((await objects(source)).size).toBe(before.size + 2);
    await expectPoint("c", written(SECOND, [change]));
  });

  for (const which of ["patch", "base"] as const) {
    test(`stores the chunk whole where the target condemns its ${which}`, async () => {
      await copyAll("a");
      const [place] = await placesOf(source);
      const key = objectKey(which === "patch" ? place!.object : place!.base!);
      const target = await openRepository(to, testContext());
      await condemn(target, [key]);
      await copyAll("b");
      const [copied] = await placesOf(target, "b");
      expect([copied!.id, copied!.base]).toEqual([place!.id, undefined]);
      // The other one is as it was.
      expect((await placesOf(target, "b"))[1]).toEqual((await placesOf(source))[1]);
      for (const manifest of (await keysOf(to, MANIFESTS)).slice(0, 1)) await to.delete([manifest]);
      await to.delete([key]);
      await expectPoint("b", SECOND);
    });
  }

  test("leaves out the points that need a damaged patch or base, and copies none of these", async () => {
    const [place] = await placesOf(source);
    for (const [ref, left] of [[place!.object, ["a"]], [place!.base!, []]] as const) {
      await emptyRepository(to = newStore());
      const key = objectKey(ref);
      const whole = await source.store.get(key);
      await source.store.put(key, flipBit(whole, 8 * (whole.length - CHUNK_BYTES / 64)));
      const report = await copyAll();
      expect(report.points).toMatchObject({ copied: left.length, damaged: 2 - left.length });
      expect(await keysOf(to, CHUNKS)).not.toContain(key);
      if (left.length > 0) await expectPoint("a", FIRST);
      await source.store.put(key, whole);
    }
  });
});
