/** verify() and repair() of block patches, and restore() with --keep-going: what a damaged patch costs, and a damaged base. */
import { beforeEach, describe, expect, test } from "bun:test";
import type { Repository } from "../../../src/project/repository.ts";
import { repair } from "../../../src/engine/verify/repair.ts";
import { verify } from "../../../src/engine/verify/verify.ts";
import { HEADER_BYTES } from "../../../src/format/object.ts";
import type { MemoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
import { flipStored } from "../../kit/damage.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  keysOf,
  newRepository,
  newStore,
  noiseChunks,
  PROJECT,
  restoreTo,
  testContext,
  VOLUME,
} from "../../kit/engine.ts";
import { data, memorySource } from "../../kit/memory_source.ts";
import { block, objectKey, placesOf, written } from "../../kit/patches.ts";
const FIRST = noiseChunks(1, 2, 3);
const CHANGES = [block(1, 4, 100), block(1, 9, 200)];
const SECOND = written(FIRST, CHANGES);
const SIZE = FIRST.length;

let store: MemoryStore;
let repository: Repository;
/** Keys: the patch of position 1 in the second point, and the whole chunk under it, which the first point has. */
let patch: string;
let base: string;
let first: string;
let second: string;
beforeEach(async () => {
  repository = await newRepository(store = newStore());
  const points = [];
  points.push(...await backUp(repository, [{ to: "a", sizeBytes: SIZE, extents: [data(0, FIRST)] }]));
  points.push(...await backUp(repository, [{ from: "a", to: "b", sizeBytes: SIZE, extents: CHANGES }]));
  [first, second] = points.map(({ backup }) => backup) as [string, string];
  const place = (await placesOf(repository))[1]!;
  [patch, base] = [objectKey(place.object), objectKey(place.base!)];
});

const content = (key: string) => flipStored(store, key, (length) => length - 100);
const front = (key: string) => flipStored(store, key, () => HEADER_BYTES + 20);
const missing = (key: string) => store.delete([key]);

async function findings() {
  const options = { project: PROJECT, secrets: [], sample: { kind: "all" } } as const;
  return (await verify(repository, options, testContext())).findings;
}

async function heal(options: { content?: Uint8Array; fromStore?: Store } = {}) {
  const { content, fromStore } = options;
  const source = content && memorySource([{ sizeBytes: content.length, extents: [data(0, content)] }]);
  return await repair(repository, { project: PROJECT, secrets: [], source, fromStore }, testContext());
}

const HARMS = [
  {
    name: "a damaged patch",
    harm: () => content(patch),
    key: () => patch,
    kind: "damaged",
    points: () => [second],
  },
  {
    name: "a damaged front of a patch",
    harm: () => front(patch),
    key: () => patch,
    kind: "damaged",
    points: () => [second],
  },
  {
    name: "a missing patch",
    harm: () => missing(patch),
    key: () => patch,
    kind: "missing",
    points: () => [second],
  },
  {
    name: "a damaged base",
    harm: () => content(base),
    key: () => base,
    kind: "damaged",
    points: () => [first, second],
  },
  {
    name: "a missing base",
    harm: () => missing(base),
    key: () => base,
    kind: "missing",
    points: () => [first, second],
  },
] as const;
const DAMAGED_RANGE = { offset: CHUNK_BYTES, length: CHUNK_BYTES };

for (const { name, harm, key, kind, points } of HARMS) {
  describe(`of ${name}`, () => {
    test("restore() leaves out its range alone, and names the key", async () => {
      await harm();
      for (const [point, volume] of [[first, FIRST], [second, SECOND]] as const) {
        const { report, target } = await restoreTo(repository, { point, keepGoing: true });
        const isHit = (points() as string[]).includes(point);
        expect(report.damaged).toMatchObject(isHit ? [{ ...DAMAGED_RANGE, key: key() }] : []);
        const expected = volume.slice();
        if (isHit) expected.fill(0, CHUNK_BYTES, 2 * CHUNK_BYTES);
        expect(Buffer.compare(target.bytes, expected)).toBe(0);
      }
    });

    test("verify() finds it, and names the points", async () => {
      await harm();
      const found = await findings();
      expect(found).toMatchObject([{ kind, key: key() }]);
      const places = found[0]!.places.map(({ volume, backup, positions }) => ({ volume, backup, positions }));
      const expected = points().map((backup) => ({ volume: VOLUME, backup, positions: [1] }));
      expect(places.toSorted((a, b) => a.backup < b.backup ? -1 : 1)).toEqual(expected);
    });

    test("repair() heals it from a second repository", async () => {
      const copy = newStore();
      for (const key of await keysOf(store, "")) await copy.put(key, await store.get(key));
      await harm();
      expect(await heal({ fromStore: copy })).toMatchObject({ healed: [key()], left: [] });
      expect(await findings()).toEqual([]);
      expect(Buffer.compare(await bytesOf(repository), SECOND)).toBe(0);
    });

    test("repair() heals it from a source that has the chunk, anywhere", async () => {
      await harm();
      const source = key() === patch ? SECOND : FIRST;
      expect(await heal({ content: source.slice(CHUNK_BYTES) })).toMatchObject({ healed: [key()], left: [] });
      expect(await findings()).toEqual([]);
      expect(Buffer.compare(await bytesOf(repository), SECOND)).toBe(0);
      expect(Buffer.compare(await bytesOf(repository, { point: first }), FIRST)).toBe(0);
    });

    test("repair() marks what it cannot heal, and the next backup of the content stores it anew", async () => {
      await harm();
      expect(await heal({ content: noiseChunks(7) })).toMatchObject({
        healed: [],
        left: [{ key: key(), kind }],
      });
      const extents = [data(CHUNK_BYTES, SECOND.slice(CHUNK_BYTES, 2 * CHUNK_BYTES))];
      const [report] = await backUp(repository, [{ from: "b", to: "c", sizeBytes: SIZE, extents }]);
      expect(report!.chunks.reused).toBe(0);
      expect(Buffer.compare(await bytesOf(repository), SECOND)).toBe(0);
      const broken = (await findings()).flatMap(({ places }) => places.map(({ backup }) => backup));
      expect(broken).not.toContain(report!.backup);
    });
  });
}

describe("of a damaged front of a base", () => {
  test("restore() takes no notice, verify() finds the base for all points, repair() heals it", async () => {
    await front(base);
    expect(Buffer.compare(await bytesOf(repository), SECOND)).toBe(0);
    const found = await findings();
    expect(found).toMatchObject([{ kind: "damaged", key: base }]);
    expect(found[0]!.places.map(({ backup }) => backup).toSorted()).toEqual([first, second]);
    expect(await heal({ content: FIRST })).toMatchObject({ healed: [base], left: [] });
    expect(await findings()).toEqual([]);
  });

  test("backup() stores a block over it whole, and fails on nothing", async () => {
    await front(base);
    const change = block(1, 10, 300);
    const [report] = await backUp(repository, [{ from: "b", to: "c", sizeBytes: SIZE, extents: [change] }]);
    expect(report!.chunks).toMatchObject({ new: 1, patched: 0 });
    expect(Buffer.compare(await bytesOf(repository), written(SECOND, [change]))).toBe(0);
  });
});

describe("of a damaged patch and its damaged base", () => {
  test("repair() heals both from one source that has both chunks", async () => {
    await content(base);
    await missing(patch);
    const both = new Uint8Array([...FIRST.slice(CHUNK_BYTES, 2 * CHUNK_BYTES), ...SECOND.slice(CHUNK_BYTES)]);
    const { healed, left } = await heal({ content: both });
    expect({ healed: healed.toSorted(), left }).toEqual({ healed: [base, patch].toSorted(), left: [] });
    expect(await findings()).toEqual([]);
    expect(Buffer.compare(await bytesOf(repository), SECOND)).toBe(0);
  });
});

describe("verify()", () => {
  test("counts a patch as an object of its own, and finds one that is sealed well but is over another chunk", async () => {
    const options = { project: PROJECT, secrets: [], sample: { kind: "all" } } as const;
    expect(await verify(repository, options, testContext())).toMatchObject({ chunks: 4, chunks_read: 4 });
    const change = block(2, 4, 100);
    await backUp(repository, [{ from: "b", to: "c", sizeBytes: SIZE, extents: [change] }]);
    const other = objectKey((await placesOf(repository))[2]!.object);
    await store.put(patch, await store.get(other));
    expect(await findings()).toMatchObject([{ kind: "damaged", key: patch }]);
  });
});
