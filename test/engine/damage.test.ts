/** Stored objects that are not what was written: a restore reports them, and never writes wrong data. */
import { describe, expect, test } from "bun:test";
import type { Repository } from "../../src/project/repository.ts";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { DamageError } from "../../src/errors.ts";
import { HEADER_BYTES } from "../../src/format/object.ts";
import {
  backUp,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  KEYS,
  keysOf,
  MANIFESTS,
  newRepository,
  noise,
  noiseChunks,
  restoreTo,
  through,
} from "../kit/engine.ts";
import { flipBit } from "../kit/damage.ts";
import { HookedStore } from "../kit/hooked_store.ts";
import { data } from "../kit/memory_source.ts";

/** A chunk that two positions have, others, zeros, and a short one at the end. */
const VOLUME = new Uint8Array([...noiseChunks(1, 2, 1), ...new Uint8Array(CHUNK_BYTES), ...noise(3, 5000)]);
const STALE = noise(9, VOLUME.length);

const repository = await newRepository();
await backUp(repository, [{ to: "a", sizeBytes: VOLUME.length, extents: [data(0, VOLUME)] }]);
const sizes = await Promise.all(
  (await keysOf(repository.store, CHUNKS)).map((key) => repository.store.head(key)),
);
const bySize = sizes.map((info) => info!).sort((a, b) => a.sizeBytes - b.sizeBytes);
/** The page is the smallest, then the short chunk. */
const [page, short, ...chunks] = bySize.map(({ key }) => key) as [string, string, string, string];
const [manifest] = await keysOf(repository.store, MANIFESTS) as [string];
const [key] = await keysOf(repository.store, KEYS) as [string];
const double = await chunkOf(0);

/** The key of the chunk at a position: the one without which that position cannot be restored. */
async function chunkOf(position: number): Promise<string> {
  for (const key of chunks) {
    const { report } = await restoreTo(changed(key, () => new Uint8Array()), { keepGoing: true });
    if (report.damaged.some(({ offset }) => offset === position * CHUNK_BYTES)) return key;
  }
  throw new Error("no object holds that position");
}

/** The repository as it reads when one of its objects was changed. */
function changed(key: string, change: (bytes: Uint8Array) => Uint8Array): Repository {
  return through(
    repository,
    new HookedStore(repository.store, { change: (at, bytes) => at === key ? change(bytes) : bytes }),
  );
}

/** Every bit of a header and some of what follows, the last byte among them. */
async function bitsOf(key: string): Promise<number[]> {
  const { sizeBytes } = (await repository.store.head(key))!;
  const bytes = [
    ...Array.from({ length: Math.min(HEADER_BYTES, sizeBytes) }, (_, i) => i),
    ...[0.1, 0.4, 0.7].map((part) => Math.floor(part * sizeBytes)),
    sizeBytes - 1,
  ];
  return bytes.map((byte) => byte * 8 + byte % 8);
}

/** What is on the target: right or as it was, everywhere. */
function neverWrong(target: Uint8Array, report?: RestoreReport): void {
  for (let at = 0; at < VOLUME.length; at += CHUNK_BYTES) {
    const [is, right, stale] = [target, VOLUME, STALE].map((bytes) =>
      bytes.subarray(at, Math.min(at + CHUNK_BYTES, VOLUME.length))
    );
    const isDamaged = report?.damaged.some(({ offset }) => offset === at) ?? true;
    const isRight = Buffer.compare(is!, right!) === 0;
    if (!isRight && !(isDamaged && Buffer.compare(is!, stale!) === 0)) throw new Error(`wrong data at ${at}`);
  }
}

function damagedOffsets(report: RestoreReport): number[] {
  return report.damaged.map(({ offset }) => offset / CHUNK_BYTES);
}

describe("restore() of a point with a damaged object", () => {
  test.each([
    ["a chunk", double, [0, 2]],
    ["the short chunk", short, [4]],
  ])(
    "goes on with keepGoing, and reports every position of %s, whichever bit is flipped",
    async (_, key, positions) => {
      for (const bit of await bitsOf(key)) {
        const options = { keepGoing: true, content: STALE };
        const { report, target } = await restoreTo(changed(key, (bytes) => flipBit(bytes, bit)), options);
        neverWrong(target.bytes, report);
        // The leaves in front of the content are not read here.
        const isUnread = report.damaged.length === 0 && bit >= HEADER_BYTES * 8;
        if (!isUnread) expect([bit, damagedOffsets(report)]).toEqual([bit, positions]);
        expect(report.chunks.total).toBe(5);
      }
    },
  );

  test("reports every position of the page with keepGoing, whichever bit of it is flipped", async () => {
    for (const bit of await bitsOf(page)) {
      const { report, target } = await restoreTo(changed(page, (bytes) => flipBit(bytes, bit)), {
        keepGoing: true,
        content: STALE,
      });
      expect([bit, damagedOffsets(report)]).toEqual([bit, [0, 1, 2, 3, 4]]);
      expect(Buffer.compare(target.bytes, STALE)).toBe(0);
    }
  });

  test("stops at the first damaged position without keepGoing, and says where it is", async () => {
    for (const key of [double, short, page]) {
      const error = await errorOf(restoreTo(changed(key, (bytes) => flipBit(bytes, 8 * bytes.length - 1))));
      expect(error).toBeInstanceOf(DamageError);
      expect((error as DamageError).key).toBe(key);
      expect(error.message).toStartWith('Cannot restore "acme/rbd/vm-1@');
      expect(error.message).toContain(`at offset ${key === short ? 4 * CHUNK_BYTES : 0} (`);
    }
  });

  test("fails when the manifest is changed, whichever bit, and opens no target", async () => {
    for (const bit of await bitsOf(manifest)) {
      let isOpened = false;
      const onWrite = () => void (isOpened = true);
      const error = await errorOf(
        restoreTo(changed(manifest, (bytes) => flipBit(bytes, bit)), { keepGoing: true, onWrite }),
      );
      expect(["damage", "format_version"]).toContain(error.code);
      expect([error.message.includes(manifest), isOpened]).toEqual([true, false]);
    }
  });

  test("fails when the key is changed, whichever bit", async () => {
    for (const bit of await bitsOf(key)) {
      const error = await errorOf(restoreTo(changed(key, (bytes) => flipBit(bytes, bit))));
      expect(["damage", "format_version"]).toContain(error.code);
    }
  });

  test("reports objects that are cut, empty, too long or another's", async () => {
    const other = await repository.store.get(short);
    const changes: ((bytes: Uint8Array) => Uint8Array)[] = [
      () => new Uint8Array(),
      (bytes) => bytes.subarray(0, HEADER_BYTES),
      (bytes) => bytes.subarray(0, -1),
      (bytes) => new Uint8Array([...bytes, 0]),
      () => new Uint8Array(3 * CHUNK_BYTES),
      () => other,
    ];
    for (const change of changes) {
      const { report, target } = await restoreTo(changed(double, change), {
        keepGoing: true,
        content: STALE,
      });
      expect(damagedOffsets(report)).toEqual([0, 2]);
      neverWrong(target.bytes, report);
    }
  });

  test("writes zeros for it to a stream, which cannot leave a hole", async () => {
    const { report, target } = await restoreTo(changed(double, () => new Uint8Array()), {
      keepGoing: true,
      sequential: true,
    });
    const expected = VOLUME.slice();
    for (const { offset, length } of report.damaged) expected.fill(0, offset, offset + length);
    expect(damagedOffsets(report)).toEqual([0, 2]);
    expect(Buffer.compare(target.bytes, expected)).toBe(0);
  });

  test("needs nothing of it where the target is right already", async () => {
    const { report, target } = await restoreTo(changed(double, () => new Uint8Array()), { content: VOLUME });
    expect([report.damaged, report.downloaded_bytes]).toEqual([[], 0]);
    expect(Buffer.compare(target.bytes, VOLUME)).toBe(0);
  });
});

describe("restore() of a point with a missing object", () => {
  async function without(key: string): Promise<Repository> {
    const copy = await newRepository(undefined, undefined, repository.id);
    for (const key of await keysOf(repository.store, "")) {
      await copy.store.put(key, await repository.store.get(key));
    }
    await copy.store.delete([key]);
    return copy;
  }

  test("reports a chunk, and restores the rest with keepGoing", async () => {
    const repository = await without(double);
    expect((await errorOf(restoreTo(repository))).message).toContain("no such object");
    const { report, target } = await restoreTo(repository, { keepGoing: true, content: STALE });
    expect(damagedOffsets(report)).toEqual([0, 2]);
    neverWrong(target.bytes, report);
  });

  test("reports a page", async () => {
    const { report } = await restoreTo(await without(page), { keepGoing: true, content: STALE });
    expect(damagedOffsets(report)).toEqual([0, 1, 2, 3, 4]);
    expect(report.damaged[0]!.key).toBe(page);
  });
});

describe("backup() on a base with a damaged object", () => {
  const next = { from: "a", sizeBytes: VOLUME.length, extents: [data(5, noise(7, 5))] };

  test.each([
    ["chunk that it has to fill up", double],
    ["page", page],
    ["manifest", manifest],
  ])("fails and writes no manifest when a bit of the %s is flipped", async (_, key) => {
    const damaged = changed(key, (bytes) => flipBit(bytes, 8 * bytes.length - 1));
    expect(await errorOf(backUp(damaged, [next]))).toBeInstanceOf(DamageError);
    expect(await keysOf(repository.store, MANIFESTS)).toEqual([manifest]);
  });
});
