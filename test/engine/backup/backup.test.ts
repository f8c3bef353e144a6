/** Backups: what they upload and what they need not, what they report, and how a source ends. */
import { describe, expect, test } from "bun:test";
import type { BackupReport } from "../../../src/engine/backup/backup.ts";
import { StreamError } from "../../../src/errors.ts";
import { toHex } from "../../../src/util/bytes.ts";
import { MAX_VOLUME_BYTES, MIB } from "../../../src/format/limits.ts";
import type { Extent, Source } from "../../../src/sources/source.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  keysOf,
  LEASES,
  MANIFESTS,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  PROJECT,
  restoreTo,
  through,
  VOLUME,
} from "../../kit/engine.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { data, memorySource, type TestDiff, zeros } from "../../kit/memory_source.ts";

/** A full difference that holds every byte. */
function full(volume: Uint8Array, to?: string): TestDiff {
  return { to, sizeBytes: volume.length, extents: [data(0, volume)] };
}

async function setUp() {
  const inner = newStore();
  const store = new HookedStore(inner);
  const repository = through(await newRepository(inner), store);
  const chunkPuts = () => store.keys("put").filter((key) => key.startsWith(CHUNKS));
  return { repository, store, chunkPuts };
}

const ZERO_CHUNK = new Uint8Array(CHUNK_BYTES);

describe("backup()", () => {
  test("uploads a chunk once when many positions have it, at the same time and later", async () => {
    const { repository, chunkPuts } = await setUp();
    const volume = noiseChunks(1, ...Array<number>(30).fill(7), 2, 7, 1);
    const [report] = await backUp(repository, [full(volume)]);
    // Three chunks and one page.
    expect(chunkPuts().length).toBe(4);
    expect(new Set(chunkPuts()).size).toBe(4);
    expect(report!.chunks).toEqual({ total: 34, changed: 34, zero: 0, new: 3, patched: 0, reused: 31 });
    expect(Buffer.compare(await bytesOf(repository), volume)).toBe(0);
  });

  test("uploads no chunk and no page when it is the same again, in this volume or another of the project", async () => {
    const { repository, chunkPuts } = await setUp();
    const volume = noiseChunks(1, 2, 3);
    await backUp(repository, [full(volume)]);
    const before = chunkPuts().length;
    const again = await backUp(repository, [full(volume)]);
    const other = await backUp(repository, [full(volume)], { volume: "other" });
    expect(chunkPuts().length).toBe(before);
    for (const [report] of [again, other]) {
      expect(report!.chunks).toEqual({ total: 3, changed: 3, zero: 0, new: 0, patched: 0, reused: 3 });
      expect(report!.uploaded_bytes).toBe(0);
    }
  });

  test("shares nothing with another project, and nothing can be told from the names", async () => {
    const { repository, store } = await setUp();
    await backUp(repository, [full(noiseChunks(1, 2))]);
    await backUp(repository, [full(noiseChunks(1, 2))], { project: "rival" });
    const ids = (await keysOf(store, "projects/")).filter((key) => key.includes("/chunks/")).map((key) =>
      key.slice(-64)
    );
    expect(ids.length).toBe(6);
    expect(new Set(ids).size).toBe(6);
  });

  test("uploads only what an increment changes, and reports it", async () => {
    const { repository, store, chunkPuts } = await setUp();
    await backUp(repository, [full(noiseChunks(1, 2, 3, 4, 5), "a")]);
    const before = chunkPuts();
    const [report] = await backUp(repository, [{
      from: "a",
      to: "b",
      sizeBytes: 5 * CHUNK_BYTES,
      extents: [
        zeros(0, CHUNK_BYTES),
        data(CHUNK_BYTES + 100, noise(9, 50)),
        data(2 * CHUNK_BYTES, noise(5, CHUNK_BYTES)),
        data(4 * CHUNK_BYTES, ZERO_CHUNK),
      ],
    }]);
    const added = chunkPuts().slice(before.length);
    const sizes = await Promise.all(added.map(async (key) => (await store.head(key))!.sizeBytes));
    expect(report).toMatchObject({
      project: PROJECT,
      volume: VOLUME,
      from_snapshot: "a",
      to_snapshot: "b",
      size_bytes: 5 * CHUNK_BYTES,
      chunks: { total: 5, changed: 4, zero: 2, new: 0, patched: 1, reused: 1 },
      uploaded_bytes: sizes.reduce((sum, size) => sum + size, 0),
    });
    // A patch, and the page.
    expect(added.length).toBe(2);
  });

  test("reads only the chunks of the base that the stream covers in part", async () => {
    const { repository, store } = await setUp();
    await backUp(repository, [full(noiseChunks(1, 2, 3, 4, 5), "a")]);
    const before = store.keys("get").length;
    const extents = [data(CHUNK_BYTES + 1, noise(9, 5)), data(3 * CHUNK_BYTES, noise(8, CHUNK_BYTES))];
    await backUp(repository, [{ from: "a", to: "b", sizeBytes: 5 * CHUNK_BYTES, extents }]);
    const gets = store.keys("get").slice(before).filter((key) => key.startsWith(CHUNKS));
    // The content of one chunk, the leaves of both, and the page.
    expect(gets.length).toBe(4);
  });

  test("makes one point of each difference of a source, each on top of the one before", async () => {
    const { repository } = await setUp();
    const reports = await backUp(repository, [
      full(noiseChunks(1, 2), "a"),
      {
        from: "a",
        to: "b",
        sizeBytes: 3 * CHUNK_BYTES,
        extents: [data(2 * CHUNK_BYTES, noise(3, CHUNK_BYTES))],
      },
      { from: "b", to: "c", sizeBytes: CHUNK_BYTES + 7, extents: [] },
      // Grows in buffers that held other chunks before.
      { from: "c", sizeBytes: 3 * CHUNK_BYTES, extents: [] },
    ]);
    expect(reports.map(({ backup }) => backup)).toEqual(reports.map(({ backup }) => backup).sort());
    const short = noiseChunks(1, 2).subarray(0, CHUNK_BYTES + 7);
    const grown = new Uint8Array(3 * CHUNK_BYTES);
    grown.set(short);
    const volumes = [noiseChunks(1, 2), noiseChunks(1, 2, 3), short, grown];
    for (const [i, { backup }] of reports.entries()) {
      expect(Buffer.compare(await bytesOf(repository, { point: backup }), volumes[i]!)).toBe(0);
    }
  });

  test("begins at the newest backup of the snapshot, also when it is not the last backup", async () => {
    const { repository } = await setUp();
    const reports: BackupReport[] = [];
    for (let time = 0; time < 2; time++) {
      reports.push(...await backUp(repository, [full(noiseChunks(2, 5), "a")]));
    }
    await backUp(repository, [full(noiseChunks(3, 3), "b")]);
    const [next] = await backUp(repository, [{
      from: "a",
      to: "c",
      sizeBytes: 2 * CHUNK_BYTES,
      extents: [],
    }]);
    expect(next!.base).toBe(reports[1]!.backup);
    expect(Buffer.compare(await bytesOf(repository), noiseChunks(2, 5))).toBe(0);
  });

  test("finds the base by a snapshot name that is not UTF-8", async () => {
    const { repository } = await setUp();
    const name = new Uint8Array([0xff, 0x00, 0x0a]);
    await backUp(repository, [{ ...full(noiseChunks(1)), to: name }]);
    const [report] = await backUp(repository, [{ from: name, to: "b", sizeBytes: CHUNK_BYTES, extents: [] }]);
    expect(report!.from_snapshot).toEqual({ base64: "/wAK" });
    expect(Buffer.compare(await bytesOf(repository), noiseChunks(1))).toBe(0);
  });

  test("says which snapshots there are when there is no backup of the one that a stream begins at", async () => {
    const { repository } = await setUp();
    for (const to of ["a", "b\n", undefined]) await backUp(repository, [full(noiseChunks(1), to)]);
    const error = await errorOf(backUp(repository, [{ from: "x", sizeBytes: 1, extents: [] }]));
    expect(error.message).toBe(
      `Cannot back up "${PROJECT}/${VOLUME}": the stream starts at snapshot "x", which has not been backed up; ` +
        'these have been: "b\\x0a", "a"; export from one of them, or without --from-snap',
    );
    const none = await errorOf(
      backUp(repository, [{ from: "x", sizeBytes: 1, extents: [] }], { volume: "new" }),
    );
    expect(none.message).toContain("no snapshot has been; ");
    expect((await keysOf(repository.store, MANIFESTS)).length).toBe(3);
  });

  test("refuses a volume that is larger than the format can hold", async () => {
    const { repository } = await setUp();
    const error = await errorOf(backUp(repository, [{ sizeBytes: MAX_VOLUME_BYTES + 1, extents: [] }]));
    expect(error.message).toContain("more than 4503599627370496");
    expect(await keysOf(repository.store, MANIFESTS)).toEqual([]);
  });

  test("refuses hostile names, and writes nothing", async () => {
    const { repository, store } = await setUp();
    for (const name of ["..", "a/../b", "a\nb", "x".repeat(300)]) {
      expect((await errorOf(backUp(repository, [full(noiseChunks(1))], { volume: name }))).code).toBe(
        "usage",
      );
      expect((await errorOf(backUp(repository, [full(noiseChunks(1))], { project: name }))).code).toBe(
        "usage",
      );
    }
    expect(store.keys("put")).toEqual([]);
  });

  test("is the latest, and dated by the store's clock, when that was put back", async () => {
    let now = Date.UTC(2030, 0, 1);
    const repository = await newRepository(new MemoryStore({ now: () => now }));
    const [before] = await backUp(repository, [full(noiseChunks(1))]);
    now = Date.UTC(2020, 0, 1);
    const [after] = await backUp(repository, [full(noiseChunks(2))]);
    expect([after!.backup.slice(0, 4), before!.backup.slice(0, 4)]).toEqual(["2020", "2030"]);
    expect(Buffer.compare(await bytesOf(repository), noiseChunks(2))).toBe(0);
  });
});

describe("backup() of a source that fails", () => {
  const failure = new StreamError('Cannot read "memory": it ends early', 5);

  test.each([
    ["behind its last difference", 2],
    ["behind its first difference", 1],
  ])("%s writes no manifest, ends its lease, and a retry uploads nothing again", async (_, complete) => {
    const { repository, chunkPuts } = await setUp();
    const all = [full(noiseChunks(1, 2), "a"), full(noiseChunks(3, 4), "b")];
    const source = memorySource(all.slice(0, complete), () => {
      throw failure;
    });
    expect(await errorOf(backUp(repository, source))).toBe(failure);
    expect(await keysOf(repository.store, MANIFESTS)).toEqual([]);
    expect(await keysOf(repository.store, LEASES)).toEqual([]);
    const before = chunkPuts();
    await backUp(repository, all.slice(0, complete));
    expect(chunkPuts().length).toBe(before.length);
  });

  test("in the middle of an extent writes no manifest, ends its lease, and a retry uploads nothing again", async () => {
    const { repository, chunkPuts } = await setUp();
    const volume = noiseChunks(...Array.from({ length: 40 }, (_, i) => i));
    const broken: Source = {
      ...memorySource([]),
      async *diffs() {
        yield { fromSnapshot: undefined, toSnapshot: undefined, sizeBytes: volume.length, extents };
      },
    };
    async function* extents(): AsyncGenerator<Extent> {
      const [diff] = await Array.fromAsync(
        memorySource([full(volume.subarray(0, 39 * CHUNK_BYTES))]).diffs(),
      );
      yield* diff!.extents();
      const read = () => Promise.reject(failure);
      yield { kind: "data", offset: 39 * CHUNK_BYTES, length: CHUNK_BYTES, read };
    }
    expect(await errorOf(backUp(repository, broken))).toBe(failure);
    expect(await keysOf(repository.store, MANIFESTS)).toEqual([]);
    expect(await keysOf(repository.store, LEASES)).toEqual([]);
    const before = chunkPuts();
    expect(before.length).toBe(39);
    await backUp(repository, [full(volume)]);
    // The last chunk, and the page.
    expect(chunkPuts().length).toBe(before.length + 2);
  });
});

describe("backup() of many chunks at once", () => {
  test("counts every uploaded byte when uploads overlap", async () => {
    const inner = newStore();
    // Each upload of a chunk waits until three are under way.
    let underWay = 0;
    const all = Promise.withResolvers<void>();
    const store = new HookedStore(inner, {
      after: async ({ op, key }) => {
        if (op !== "put" || !key.startsWith(CHUNKS)) return;
        if (++underWay === 3) all.resolve();
        await all.promise;
      },
    });
    const [report] = await backUp(through(await newRepository(inner), store), [full(noiseChunks(1, 2, 3))]);
    const stored = (await Array.fromAsync(inner.list(CHUNKS))).map(({ sizeBytes }) => sizeBytes);
    expect(stored.length).toBe(4);
    expect(report!.uploaded_bytes).toBe(stored.reduce((sum, sizeBytes) => sum + sizeBytes));
  });
});

describe("backup() and restore() of a huge sparse volume", () => {
  test("take terabytes of zeros in a few steps", async () => {
    const inner = newStore();
    const chunkBytes = 32 * MIB;
    const sizeBytes = 2 * MIB * MIB + 12_345;
    const repository = await newRepository(inner, chunkBytes);
    const ends = [5, MIB * MIB + 1, sizeBytes - 100];
    const extents = [zeros(0, sizeBytes), ...ends.map((at, i) => data(at, noise(i + 1, 100)))];
    const [first] = await backUp(repository, [{ to: "a", sizeBytes, extents }]);
    expect(first!.chunks).toMatchObject({ total: 65_537, new: 3 });
    const rest = { from: "a", sizeBytes, extents: [zeros(4096, sizeBytes - 4096 - 50)] };
    await backUp(repository, [rest]);
    expect(await sparse(repository, first!.backup)).toEqual(
      ends.map((at, i) => [at, toHex(noise(i + 1, 100))]),
    );
    const tail = toHex(noise(3, 100).subarray(50));
    expect(await sparse(repository, "latest")).toEqual([[5, toHex(noise(1, 100))], [sizeBytes - 50, tail]]);
  }, 60_000);
});

/** The runs of bytes that are not zeros. */
async function sparse(
  repository: Parameters<typeof restoreTo>[0],
  point: string,
): Promise<[number, string][]> {
  const runs: [number, string][] = [];
  await restoreTo(repository, {
    point,
    onWrite: (offset, bytes) => {
      const first = bytes.findIndex((byte) => byte !== 0);
      const last = bytes.findLastIndex((byte) => byte !== 0);
      runs.push([offset + first, toHex(bytes.subarray(first, last + 1))]);
    },
  });
  return runs;
}
