/** What volumes and points take, share and would free: against sums made by hand, and by really forgetting. */
import { beforeEach, describe, expect, test } from "bun:test";
import { gc } from "../../../src/engine/gc/gc.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { type ProjectStats, stats } from "../../../src/engine/stats/stats.ts";
import { UsageTable } from "../../../src/engine/stats/usage_table.ts";
import { type ObjectRef, parseChunkName } from "../../../src/format/layout.ts";
import { flipBit } from "../../kit/damage.ts";
import {
  AT_ONCE,
  backUp,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  MANIFESTS,
  newRepository,
  noise,
  noiseChunks,
  PROJECT,
  testContext,
  through,
} from "../../kit/engine.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { data } from "../../kit/memory_source.ts";
import { pageKeyOf } from "../../kit/patches.ts";
import { chunkKeys, condemn } from "../../kit/plans.ts";
import { random } from "../../kit/random.ts";

let repository: Repository;
beforeEach(async () => void (repository = await newRepository()));

async function point(volume: string, bytes: Uint8Array, to = "s1"): Promise<string> {
  const diff = { to, sizeBytes: bytes.length, extents: [data(0, bytes)] };
  return (await backUp(repository, [diff], { volume }))[0]!.backup;
}

async function count(volume?: string, of = repository): Promise<ProjectStats> {
  return await stats(of, { project: PROJECT, volume, secrets: [] }, testContext());
}

/** Stored bytes below these keys. */
async function bytesBelow(...prefixes: string[]): Promise<number> {
  let sum = 0;
  for (const prefix of prefixes) {
    for await (const { sizeBytes } of repository.store.list(prefix)) sum += sizeBytes;
  }
  return sum;
}

describe("stats()", () => {
  test("counts points, sizes and stored bytes of a volume when there is one", async () => {
    await point("a", noiseChunks(1, 2, 3));
    await point("a", noiseChunks(1, 2), "s2");
    const all = await bytesBelow(CHUNKS, MANIFESTS);
    expect(await count()).toEqual({
      ...{ project: PROJECT, points: 2, logical_bytes: 5 * CHUNK_BYTES, objects: 3 + 2 + 2 },
      ...{ stored_bytes: all, unreferenced_bytes: 0, marked: 0, unreadable: [] },
      volumes: [{
        ...{ volume: "a", points: 2, size_bytes: 2 * CHUNK_BYTES, logical_bytes: 5 * CHUNK_BYTES },
        ...{ stored_bytes: all, shared_bytes: 0, unique_bytes: all },
      }],
    });
  });

  test("tells shared from unique bytes when volumes have chunks, or whole pages, in common", async () => {
    await point("a", noiseChunks(1, 2));
    const onlyA = await bytesBelow(CHUNKS, MANIFESTS);
    await point("b", noiseChunks(1, 2)); // the same page
    await point("c", noiseChunks(2, 9));
    const { volumes, stored_bytes } = await count();
    const [a, b, c] = volumes;
    const manifestOf = (volume: string) => bytesBelow(`${MANIFESTS}${volume}/`);
    expect(a).toMatchObject({ stored_bytes: onlyA, unique_bytes: await manifestOf("a") });
    expect(a!.shared_bytes).toBe(a!.stored_bytes! - a!.unique_bytes!);
    expect(b).toMatchObject({ shared_bytes: a!.shared_bytes, unique_bytes: await manifestOf("b") });
    expect(stored_bytes).toBe(await bytesBelow(CHUNKS, MANIFESTS));
    expect(stored_bytes).toBe(onlyA + b!.unique_bytes! + c!.unique_bytes!);
    expect(c!.shared_bytes).toBeGreaterThan(CHUNK_BYTES);
    expect(c!.shared_bytes).toBeLessThan(1.1 * CHUNK_BYTES);
  });

  test("names what is no point's as unreferenced", async () => {
    const backup = await point("a", noiseChunks(1, 2));
    await point("a", noiseChunks(2, 3), "s2");
    await repository.store.delete([`${MANIFESTS}a/${backup}`]);
    const before = await bytesBelow(CHUNKS);
    const { unreferenced_bytes } = await count();
    await gc(repository, { project: PROJECT, secrets: [], dryRun: false, ...AT_ONCE }, testContext());
    expect(unreferenced_bytes).toBe(before - await bytesBelow(CHUNKS));
    expect(unreferenced_bytes).toBeGreaterThan(CHUNK_BYTES);
    expect((await count()).unreferenced_bytes).toBe(0);
  });

  test("counts a chunk under another key as another object", async () => {
    await point("a", noiseChunks(1));
    await condemn(repository, await chunkKeys(repository));
    await point("b", noiseChunks(1));
    const { volumes } = await count();
    expect(volumes.map(({ shared_bytes }) => shared_bytes)).toEqual([0, 0]);
    expect(volumes[1]!.unique_bytes).toBeGreaterThan(CHUNK_BYTES);
  });

  test("tells a volume's points only when it is asked for, and no other volume then", async () => {
    await point("a", noiseChunks(1));
    const backup = await point("b", noiseChunks(2));
    const { volumes } = await count("b");
    expect(volumes).toHaveLength(1);
    expect(volumes[0]).toMatchObject({ volume: "b", backups: [{ backup, size_bytes: CHUNK_BYTES }] });
    expect((await errorOf(count("c"))).message).toBe(
      `Cannot find "${PROJECT}/c": it has no restore points; "${PROJECT}" has "a", "b"`,
    );
  });

  test("tells what forgetting a point frees, as forgetting and gc then show", async () => {
    for (const seed of [1, 2, 3, 4]) {
      repository = await newRepository();
      const pick = random(seed);
      const volumes = ["a", "a/b", "c"];
      for (let i = 0; i < 8; i++) {
        const seeds = Array.from({ length: 1 + pick(5) }, () => pick(7));
        await point(volumes[pick(3)]!, noiseChunks(...seeds), `s${i}`);
      }
      const volume = (await count()).volumes[pick((await count()).volumes.length)]!.volume;
      const { backups = [] } = (await count(volume)).volumes[0]!;
      const { backup, unique_bytes } = backups[pick(backups.length)]!;
      const before = await bytesBelow(CHUNKS, MANIFESTS);
      await repository.store.delete([`${MANIFESTS}${volume}/${backup}`]);
      await gc(repository, { project: PROJECT, secrets: [], dryRun: false, ...AT_ONCE }, testContext());
      expect({ seed, freed: before - await bytesBelow(CHUNKS, MANIFESTS) }).toEqual({
        seed,
        freed: unique_bytes!,
      });
    }
  }, 60_000);

  test("reads each page once, and no chunk, when many points share it", async () => {
    for (let i = 0; i < 5; i++) await point("a", noiseChunks(1, 2), `s${i}`);
    const watched = new HookedStore(repository.store);
    await count(undefined, through(repository, watched));
    expect(watched.keys("get").filter((key) => key.startsWith(CHUNKS))).toHaveLength(1);
    expect([...watched.keys("put"), ...watched.keys("delete")]).toEqual([]);
  });

  test("leaves out what is forgotten and swept meanwhile", async () => {
    const backup = await point("a", noiseChunks(1, 2));
    await point("a", noiseChunks(3), "s2");
    for (const gone of [`${MANIFESTS}a/${backup}`, CHUNKS]) {
      const store = new HookedStore(repository.store, {
        before: async ({ op, key }) => {
          if (op === "get" && key.startsWith(gone)) await repository.store.delete([key]);
        },
      });
      const { points, stored_bytes } = await count(undefined, through(repository, store));
      expect({ gone, points }).toEqual({ gone, points: 1 });
      expect(stored_bytes).toBeGreaterThan(0);
    }
  });

  test("gives no figure that would be wrong when a page cannot be read", async () => {
    await point("a", noiseChunks(1));
    await point("b", noiseChunks(2));
    const page = (await pageKeyOf(repository, "latest", "a"))!;
    const change = (key: string, bytes: Uint8Array) => key === page ? flipBit(bytes, 8 * 60) : bytes;
    const damaged = through(repository, new HookedStore(repository.store, { change }));
    const stored = await bytesBelow(CHUNKS, MANIFESTS);
    const { volumes, ...project } = await count("a", damaged);
    expect(project).toMatchObject({
      ...{ points: 2, logical_bytes: 2 * CHUNK_BYTES, stored_bytes: stored, unreferenced_bytes: null },
      unreadable: [{ key: page, reason: expect.stringContaining(page) }],
    });
    expect(volumes).toMatchObject([
      { volume: "a", size_bytes: CHUNK_BYTES, stored_bytes: null, shared_bytes: null, unique_bytes: null },
    ]);
    expect(volumes[0]!.backups).toMatchObject([{ unique_bytes: null }]);
    expect((await count(undefined, damaged)).volumes[1]).toMatchObject({
      stored_bytes: expect.any(Number),
      unique_bytes: null,
    });
  });

  test("takes a page that is gone for unreadable, and a page that one listing lacks for present", async () => {
    await point("a", noiseChunks(1));
    const page = (await pageKeyOf(repository, "latest", "a"))!;
    const whole = await count();
    const store = new HookedStore(repository.store, { hide: (key) => key === page });
    expect(await count(undefined, through(repository, store))).toMatchObject({
      unreferenced_bytes: 0,
      stored_bytes: whole.stored_bytes,
      unreadable: [],
    });
    await repository.store.delete([page]);
    expect(await count()).toMatchObject({ unreferenced_bytes: null, unreadable: [{ key: page }] });
  });

  test("counts the rest when a manifest cannot be read", async () => {
    const first = await point("a", noiseChunks(1));
    await point("a", noiseChunks(1, 2), "s2");
    const manifest = `${MANIFESTS}a/${first}`;
    await repository.store.put(manifest, flipBit(await repository.store.get(manifest), 8 * 60));
    const { volumes, ...project } = await count();
    expect(project).toMatchObject({ points: 2, logical_bytes: null, unreadable: [{ key: manifest }] });
    expect(volumes).toMatchObject([{ points: 2, size_bytes: 2 * CHUNK_BYTES, stored_bytes: null }]);
  });

  test("counts nothing when a project has no points", async () => {
    await repository.store.delete([`${MANIFESTS}a/${await point("a", new Uint8Array(0))}`]);
    expect(await count()).toMatchObject({ points: 0, stored_bytes: 0, volumes: [] });
  });
});

describe("UsageTable", () => {
  const LEASE = noise(99, 16);
  /** Different ones for different numbers; every second has a suffix. */
  function refOf(number: number): ObjectRef {
    const id = noise(number >> 1, 32);
    return { id, lease: number % 2 === 0 ? undefined : LEASE };
  }

  test("finds every object again, and no other, when it has grown", () => {
    const table = new UsageTable();
    const count = 70_000; // more than a piece
    for (let i = 0; i < count; i++) table.add(refOf(i), i);
    expect(table.size).toBe(count);
    for (let i = 0; i < count; i += 7) {
      expect(table.find(refOf(i))).toBe(i);
      expect(table.sizeOf(i)).toBe(i);
    }
    expect(table.refOf(count - 1)).toEqual(refOf(count - 1));
    expect(table.refOf(count - 2)).toEqual(refOf(count - 2));
    expect(table.find(refOf(count))).toBeUndefined();
    expect(table.find({ id: refOf(0).id, lease: noise(1, 16) })).toBeUndefined();
  });

  test("knows the only point and volume, or that there are many", () => {
    const table = new UsageTable();
    const key = `chunks/ab/ab${"0".repeat(62)}`;
    table.add(parseChunkName(key)!, 1);
    expect([table.pointsOf(0), table.onlyVolumeOf(0)]).toEqual([0, undefined]);
    table.addPoints(0, 5);
    table.addPoints(0, 5);
    expect(table.pointsOf(0)).toBe(5);
    table.addPoints(0, 6);
    table.addPoints(0, 6);
    expect(table.pointsOf(0)).toBe(0xffff_ffff);
    expect([table.addVolume(0, 0), table.addVolume(0, 0), table.onlyVolumeOf(0)]).toEqual([true, false, 0]);
    expect([table.addVolume(0, 1), table.addVolume(0, 1), table.onlyVolumeOf(0)]).toEqual([
      true,
      false,
      undefined,
    ]);
    expect([table.addVolume(0, 2), table.onlyVolumeOf(0)]).toEqual([true, undefined]);
  });
});
