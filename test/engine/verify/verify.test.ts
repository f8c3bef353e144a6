/** verify(), verifySource() and repair(): finding damage, saying what it concerns, and healing it. */
import { describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repair } from "../../../src/engine/verify/repair.ts";
import { verify, type VerifyOptions } from "../../../src/engine/verify/verify.ts";
import { verifySource } from "../../../src/engine/verify/verify_source.ts";
import type { Repository } from "../../../src/project/repository.ts";
import type { Store } from "../../../src/store/store.ts";
import { flipBit, flipStored } from "../../kit/damage.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  keysOf,
  MANIFESTS,
  newRepository,
  newStore,
  noiseChunks,
  PROJECT,
  testContext,
  VOLUME,
} from "../../kit/engine.ts";
import { data, memorySource, zeros } from "../../kit/memory_source.ts";
import { utf8 } from "../../../src/util/bytes.ts";

const ALL = { project: PROJECT, secrets: [], sample: { kind: "all" } } as const;
const SIZE = 4 * CHUNK_BYTES;
const MARKS = `projects/${PROJECT}/marked/`;

/** Two points that share chunk 1 (at positions 0 and 2) and differ in the last one; position 1 is zeros. */
async function setUp() {
  const store = newStore();
  const repository = await newRepository(store);
  const extents = [data(0, noiseChunks(1)), data(2 * CHUNK_BYTES, noiseChunks(1, 3))];
  const [first] = await backUp(repository, [{ to: "a", sizeBytes: SIZE, extents }]);
  const changed = [data(3 * CHUNK_BYTES, noiseChunks(4))];
  const [second] = await backUp(repository, [{ from: "a", to: "b", sizeBytes: SIZE, extents: changed }]);
  return { store, repository, first: first!.backup, second: second!.backup };
}

async function verified(repository: Repository, options: Partial<VerifyOptions> = {}) {
  return await verify(repository, { ...ALL, ...options }, testContext());
}

/** The keys of the chunks with these contents, not of pages. */
async function chunkKeys(store: Store, repository: Repository): Promise<string[]> {
  const all = await keysOf(store, CHUNKS);
  const sizes = await Promise.all(all.map(async (key) => (await store.get(key)).length));
  expect((await verified(repository)).findings).toEqual([]);
  return all.filter((_, i) => sizes[i]! >= CHUNK_BYTES);
}

const flip = (store: Store, key: string) => flipStored(store, key, (length) => length - 100);

describe("verify()", () => {
  test("counts every different chunk once when nothing is wrong, and reads none back when told so", async () => {
    const { repository } = await setUp();
    expect(await verified(repository)).toMatchObject({ chunks: 3, chunks_read: 3, findings: [] });
    expect(await verified(repository, { sample: { kind: "none" } })).toMatchObject({
      chunks: 3,
      chunks_read: 0,
    });
    expect(await verified(repository, { volume: VOLUME, point: "a" })).toMatchObject({
      chunks: 2,
      chunks_read: 2,
    });
  });

  test("walks as often as needed when not all ids may be held at once", async () => {
    const { repository } = await setUp();
    expect(await verified(repository, { maxIds: 1 })).toMatchObject({
      chunks: 3,
      chunks_read: 3,
      findings: [],
    });
  });

  test("names points and positions when a chunk is damaged, and when it is missing", async () => {
    for (const harm of ["damaged", "missing"] as const) {
      const { repository, store, first, second } = await setUp();
      for (const key of await chunkKeys(store, repository)) {
        const bytes = await store.get(key);
        if (harm === "damaged") await flip(store, key);
        else await store.delete([key]);
        const { findings } = await verified(repository);
        expect(findings).toMatchObject([{ kind: harm, key }]);
        const places = findings[0]!.places.map(({ backup, positions }) => `${backup} ${positions}`).sort();
        expect([[`${first} 0,2`, `${second} 0,2`], [`${first} 3`], [`${second} 3`]]).toContainEqual(places);
        await store.put(key, bytes);
      }
    }
  });

  test("does not read content when it only looks what exists, so damage is not seen and absence is", async () => {
    const { repository, store } = await setUp();
    const [key] = await chunkKeys(store, repository);
    await flip(store, key!);
    expect((await verified(repository, { sample: { kind: "none" } })).findings).toEqual([]);
    await store.delete([key!]);
    expect((await verified(repository, { sample: { kind: "none" } })).findings).toMatchObject([{
      kind: "missing",
    }]);
  });

  test("finds a damaged page, with all chunks that it names, and a damaged manifest", async () => {
    const { repository, store, second } = await setUp();
    const chunks = await chunkKeys(store, repository);
    const pages = (await keysOf(store, CHUNKS)).filter((key) => !chunks.includes(key));
    for (const page of pages) await flip(store, page);
    const { findings } = await verified(repository);
    expect(findings.map(({ key }) => key)).toEqual(pages);
    expect(findings.flatMap(({ places }) => places.map(({ chunks }) => chunks))).toEqual([4, 4]);
    const manifest = (await keysOf(store, MANIFESTS)).find((key) => key.endsWith(second))!;
    await flip(store, manifest);
    expect((await verified(repository)).findings.map(({ key }) => key)).toContain(manifest);
  });

  test("reads every chunk in all parts together, each in one of them", async () => {
    const { repository } = await setUp();
    let read = 0;
    for (let part = 0; part < 3; part++) {
      read += (await verified(repository, { sample: { kind: "part", part, parts: 3 } })).chunks_read;
    }
    expect(read).toBe(3);
  });

  test("passes over what was found whole lately, until it is too long ago or the note was changed", async () => {
    const { repository, store } = await setUp();
    const cacheRoot = await mkdtemp(join(tmpdir(), "varve-verify-"));
    try {
      let nowMs = Date.UTC(2026, 0, 1);
      const clock = { now: () => nowMs, sleep: () => new Promise<void>(() => {}) };
      const run = (maxAgeDays?: number) =>
        verify(repository, { ...ALL, maxAgeDays }, testContext({ cacheRoot, clock }));
      expect(await run(7)).toMatchObject({ chunks_read: 3, chunks_fresh: 0 });
      nowMs += 7 * 24 * 3600_000;
      expect(await run(7)).toMatchObject({ chunks_read: 0, chunks_fresh: 3 });
      expect(await run(6)).toMatchObject({ chunks_read: 3, chunks_fresh: 0 });
      expect(await run(6)).toMatchObject({ chunks_read: 0, chunks_fresh: 3 });
      const [key] = await chunkKeys(store, repository);
      await flip(store, key!);
      expect((await run()).findings).toMatchObject([{ key }]); // not asked to pass over anything
      nowMs -= 30 * 24 * 3600_000;
      expect(await run(7)).toMatchObject({ chunks_fresh: 0 }); // notes of the future
      const path = join(cacheRoot, repository.id, PROJECT, "verified");
      await writeFile(path, flipBit(await readFile(path), 8 * 40));
      expect(await run(9999)).toMatchObject({ chunks_fresh: 0 });
    } finally {
      await rm(cacheRoot, { recursive: true, force: true });
    }
  });

  test("reads a share of the chunks, as chance has it", async () => {
    const { repository } = await setUp();
    const draws = [0.9, 0.1, 0.9];
    const sample = { kind: "share", share: 0.5, random: () => draws.pop()! } as const;
    expect(await verified(repository, { sample })).toMatchObject({ chunks: 3, chunks_read: 1 });
  });
});

describe("verifySource()", () => {
  const compare = (repository: Repository, content: Uint8Array) =>
    verifySource(repository, {
      ...{ project: PROJECT, volume: VOLUME, point: "a", secrets: [] },
      source: memorySource([{ sizeBytes: content.length, extents: [data(0, content)] }]),
    }, testContext());

  const NOTHING = { bytes: 0, ranges: [], more_ranges: 0 };

  test("finds nothing in a source that is the point", async () => {
    const { repository } = await setUp();
    const content = await bytesOf(repository, { point: "a" });
    expect(await compare(repository, content)).toMatchObject({
      chunks: 4,
      differs: NOTHING,
      unreadable: { ...NOTHING, reason: null },
    });
  });

  test("tells adjacent chunks that differ as one range, whether the point has bytes there or zeros", async () => {
    const { repository } = await setUp();
    const content = await bytesOf(repository, { point: "a" });
    content[0]! ^= 1;
    content[CHUNK_BYTES] = 1;
    content[SIZE - 1]! ^= 1;
    expect(await compare(repository, content)).toMatchObject({
      differs: {
        bytes: 3 * CHUNK_BYTES,
        ranges: [{ offset: 0, length: 2 * CHUNK_BYTES }, { offset: 3 * CHUNK_BYTES, length: CHUNK_BYTES }],
        more_ranges: 0,
      },
      unreadable: NOTHING,
    });
  });

  test("tells a stored chunk that is damaged as such, and what differs beside it", async () => {
    const { repository, store } = await setUp();
    const content = await bytesOf(repository, { point: "a" });
    content[CHUNK_BYTES] = 1;
    content[3 * CHUNK_BYTES]! ^= 1;
    for (const key of await chunkKeys(store, repository)) await flip(store, key);
    expect(await compare(repository, content)).toMatchObject({
      differs: { bytes: CHUNK_BYTES, ranges: [{ offset: CHUNK_BYTES, length: CHUNK_BYTES }] },
      unreadable: {
        bytes: CHUNK_BYTES,
        ranges: [{ offset: 3 * CHUNK_BYTES, length: CHUNK_BYTES }],
        reason: expect.stringMatching(/^Cannot read "projects\/acme\/chunks\//),
      },
    });
  });

  test("tells all of it as unreadable where its page is gone", async () => {
    const { repository, store } = await setUp();
    const content = await bytesOf(repository, { point: "a" });
    const chunks = await chunkKeys(store, repository);
    await store.delete((await keysOf(store, CHUNKS)).filter((key) => !chunks.includes(key)));
    expect(await compare(repository, content)).toMatchObject({
      differs: NOTHING,
      unreadable: { bytes: SIZE, ranges: [{ offset: 0, length: SIZE }] },
    });
  });

  test("refuses a source of another size, a whole one and one whose size comes late", async () => {
    const { repository } = await setUp();
    expect((await errorOf(compare(repository, noiseChunks(1)))).code).toBe("damage");
    const content = noiseChunks(1, 2, 3, 4, 5);
    const source = memorySource([{
      sizeBytes: content.length,
      sizeComesLate: true,
      extents: [data(0, content)],
    }]);
    const options = { project: PROJECT, volume: VOLUME, point: "a", secrets: [], source };
    expect(await errorOf(verifySource(repository, options, testContext()))).toMatchObject({
      code: "damage",
      message: expect.stringContaining(`its size is ${content.length} bytes instead of ${SIZE}`),
    });
  });

  test.each(["rbd diff v1\n", "rbd image v2\n", "rbd diff v9\n"])(
    "refuses a stream of rbd that begins with %j, unless the volume does too",
    async (banner) => {
      const { repository } = await setUp();
      const content = await bytesOf(repository, { point: "a" });
      content.set(utf8(banner));
      expect(await errorOf(compare(repository, content))).toMatchObject({
        code: "usage",
        message: expect.stringMatching(
          /it is an rbd stream, .* use "rbd export POOL\/IMAGE@SNAP - \| varve verify acme/,
        ),
      });
      await backUp(repository, [{ to: "a", sizeBytes: SIZE, extents: [data(0, content)] }]);
      expect(await compare(repository, content)).toMatchObject({ chunks: 4, differs: NOTHING });
    },
  );
});

describe("repair()", () => {
  const heal = (repository: Repository, options: { fromStore?: Store; content?: Uint8Array } = {}) => {
    const { content, fromStore } = options;
    const source = content === undefined
      ? undefined
      : memorySource([{ sizeBytes: content.length, extents: [data(0, content)] }]);
    return repair(repository, { project: PROJECT, secrets: [], source, fromStore }, testContext());
  };

  test("heals a chunk from a source that has it anywhere, and every point verifies again", async () => {
    const { repository, store } = await setUp();
    const content = await bytesOf(repository, { point: "b" });
    const keys = await chunkKeys(store, repository);
    await flip(store, keys[0]!);
    await store.delete([keys[1]!]);
    const report = await heal(repository, { content: noiseChunks(9, 4, 3, 1) });
    expect(report.healed.toSorted()).toEqual(keys.slice(0, 2).toSorted());
    expect(report.left).toEqual([]);
    expect((await verified(repository)).findings).toEqual([]);
    expect(await bytesOf(repository, { point: "b" })).toEqual(content);
  });

  test("heals chunks, pages and manifests from a second repository, and never from what is damaged there too", async () => {
    const { repository, store } = await setUp();
    const second = newStore();
    for (const key of await keysOf(store, "")) await second.put(key, await store.get(key));
    const [chunk] = await chunkKeys(store, repository);
    await flip(second, chunk!);
    const objects = [...await keysOf(store, CHUNKS), ...await keysOf(store, MANIFESTS)];
    for (const key of objects) await flip(store, key);
    await heal(repository, { fromStore: second });
    expect((await verified(repository)).findings.map(({ key }) => key)).toEqual([chunk!]);
  });

  test("marks what it cannot heal, and the next backup with that content stores it again", async () => {
    const { repository, store } = await setUp();
    const keys = await chunkKeys(store, repository);
    for (const key of keys) await flip(store, key);
    const damaged = await Promise.all(keys.map((key) => store.get(key)));
    const report = await heal(repository);
    expect(report.left.map(({ key }) => key)).toEqual(keys);
    expect(report.marked).toEqual(keys);
    expect(await keysOf(store, MARKS)).toEqual(keys.map((key) => key.replace("/chunks/", "/marked/")));
    expect(await Promise.all(keys.map((key) => store.get(key)))).toEqual(damaged);
    const extents = [
      data(0, noiseChunks(1)),
      zeros(CHUNK_BYTES, CHUNK_BYTES),
      data(2 * CHUNK_BYTES, noiseChunks(1, 3)),
    ];
    await backUp(repository, [{ to: "c", sizeBytes: SIZE, extents }]);
    await backUp(repository, [{ to: "d", sizeBytes: SIZE, extents: [data(0, noiseChunks(4))] }]);
    expect(await verified(repository)).toMatchObject({ findings: [], marked: 0, unmarked: keys.length });
    expect(await keysOf(store, MARKS)).toEqual([]);
  });
});
