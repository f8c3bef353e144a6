/** restore() with verifyTarget, and onto a file that something else writes to: what is wrong is never called good. */
import { beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Repository } from "../../../src/project/repository.ts";
import { PAGE_CHUNKS } from "../../../src/format/limits.ts";
import type { Target } from "../../../src/targets/target.ts";
import {
  backUp,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  keysOf,
  newRepository,
  noise,
  noiseChunks,
  testContext,
} from "../../kit/engine.ts";
import { data } from "../../kit/memory_source.ts";
import { changed, expectContent, type FileRestore, restoreFile } from "../../kit/restores.ts";
import { scratchFolder } from "../../kit/scratch.ts";

const folder = scratchFolder();
const path = join(folder, "disk");
const SIZE_BYTES = 5 * CHUNK_BYTES + 1000;
/** Zeros in the first chunk and in the third. */
const VOLUME = new Uint8Array(SIZE_BYTES);
VOLUME.set(noise(1, CHUNK_BYTES), CHUNK_BYTES);
VOLUME.set(noiseChunks(2, 3, 4).subarray(0, 2 * CHUNK_BYTES + 1000), 3 * CHUNK_BYTES);

let repository: Repository;
let context = testContext();
let turn = 0;

beforeEach(async () => {
  fs.rmSync(path, { force: true });
  context = testContext({ cacheRoot: join(folder, `cache-${turn++}`) });
  repository = await newRepository();
  await backUp(repository, [{ sizeBytes: SIZE_BYTES, extents: [data(0, VOLUME)] }]);
});

const restored = (options: FileRestore = {}) => restoreFile(repository, path, { context, ...options });

/** Behind the target's back. */
function poke(offset: number, bytes: Uint8Array): void {
  const fd = fs.openSync(path, "r+");
  fs.writeSync(fd, bytes, 0, bytes.length, offset);
  fs.closeSync(fd);
}

/** Another bit at that place. */
const flip = (offset: number) => poke(offset, Uint8Array.of(VOLUME[offset]! ^ 1));

describe("restore() with verifyTarget", () => {
  test("says how much was read back when all is right, whatever way it took", async () => {
    for (const way of ["new", "unchanged"]) {
      expect(await restored({ verifyTarget: true })).toMatchObject({ way, verified_bytes: SIZE_BYTES });
    }
    expect(await restored({ verifyTarget: true, trustCache: false })).toMatchObject({
      verified_bytes: SIZE_BYTES,
    });
    expect(await restored()).toMatchObject({ verified_bytes: 0 });
    expect(await restored({ verifyTarget: true, dryRun: true })).toMatchObject({ verified_bytes: 0 });
  });

  test("reads from the device once everything is on it", async () => {
    const steps: string[] = [];
    const noting = (target: Target) => {
      const note = <K extends "sync" | "dropCache" | "read">(name: K): Pick<Target, K> => {
        const work = target[name].bind(target) as (...args: unknown[]) => Promise<void>;
        return { [name]: (...args: unknown[]) => (steps.push(name), work(...args)) } as unknown as Pick<
          Target,
          K
        >;
      };
      return changed(target, { ...note("sync"), ...note("dropCache"), ...note("read") });
    };
    await restored({ verifyTarget: true, wrap: noting });
    expect(steps).toEqual(["sync", "dropCache", ...Array.from({ length: 6 }, () => "read")]);
  });

  test.each([
    ["in a chunk that was written", CHUNK_BYTES + 5],
    ["in a hole", 2 * CHUNK_BYTES + 9],
    ["in the first byte", 0],
    ["in the last byte", SIZE_BYTES - 1],
  ])("exits with damage and names the place when one bit is other on the device %s", async (_, offset) => {
    const wrap = (target: Target) =>
      changed(target, {
        sync: async () => {
          await target.sync();
          flip(offset);
        },
      });
    const error = await errorOf(restored({ verifyTarget: true, wrap }));
    const at = Math.floor(offset / CHUNK_BYTES) * CHUNK_BYTES;
    const length = Math.min(CHUNK_BYTES, SIZE_BYTES - at);
    expect({ code: error.code, message: error.message }).toEqual({
      code: "damage",
      message: `Cannot verify "${path}": ${length} bytes at offset ${at} differ from the data written`,
    });
    // It was not noted as good.
    expect(await restored()).toMatchObject({ way: "compare" });
    expectContent(path, VOLUME);
  });

  test("exits with damage when the device loses a write, or a hole", async () => {
    for (const lost of ["write", "zero"] as const) {
      fs.writeFileSync(path, noise(9, SIZE_BYTES));
      const wrap = (target: Target) => changed(target, { [lost]: () => Promise.resolve() });
      expect(await errorOf(restored({ verifyTarget: true, wrap }))).toMatchObject({ code: "damage" });
    }
  });

  test("exits with damage when what was known of the file is wrong", async () => {
    await restored();
    flip(CHUNK_BYTES + 5);
    const known = { point: "latest" };
    expect(await restored({ known })).toMatchObject({ chunks: { matched: 6 } });
    expect(await errorOf(restored({ known, verifyTarget: true }))).toMatchObject({ code: "damage" });
  });

  test("exits with damage when the page that says what belongs there is gone", async () => {
    const sizeBytes = PAGE_CHUNKS * CHUNK_BYTES;
    await backUp(repository, [{ sizeBytes, extents: [data(0, VOLUME)] }]);
    await restored();
    await repository.store.delete(await keysOf(repository.store, CHUNKS));
    fs.rmSync(join(context.cacheRoot!, repository.id), { recursive: true });
    // Nothing of it is needed to see that nothing changed.
    expect(await restored()).toMatchObject({ way: "unchanged", chunks: { matched: PAGE_CHUNKS } });
    const error = await errorOf(restored({ verifyTarget: true }));
    expect(error.code).toBe("damage");
    expect(error.message).toStartWith(`Cannot verify "${path}": the content at offset 0 is not known: `);
  });

  test("verifies a part of whole chunks, and refuses another", async () => {
    const part = { offset: CHUNK_BYTES, length: 2 * CHUNK_BYTES };
    expect(await restored({ part, verifyTarget: true })).toMatchObject({ verified_bytes: part.length });
    expect(await restored({ part: { offset: 4 * CHUNK_BYTES, length: undefined }, verifyTarget: true }))
      .toMatchObject({ verified_bytes: CHUNK_BYTES + 1000 });
    for (const part of [{ offset: 1, length: CHUNK_BYTES }, { offset: 0, length: 1000 }]) {
      const error = await errorOf(restored({ part, verifyTarget: true }));
      expect(error).toMatchObject({
        code: "usage",
        message: expect.stringContaining("must be multiples of 65536 bytes"),
      });
    }
  });
});

describe("restore() onto a file that something else writes to", () => {
  /** Writes once, as soon as the restore is `at`, and so that it shows in the file's times. */
  const meddling = (at: number, work: () => void): FileRestore => {
    let isDone = false;
    return {
      onProgress: ({ doneBytes }) => {
        if (doneBytes < at || isDone) return;
        isDone = true;
        const times = () => fs.statSync(path, { bigint: true }).ctimeNs;
        for (const before = times(); times() === before;) work();
      },
    };
  };
  const expectRefused = async (options: FileRestore) => {
    const error = await errorOf(restored(options));
    expect({ code: error.code, message: error.message }).toEqual({
      code: "failed",
      message: `Cannot restore to "${path}": another process wrote to it`,
    });
    // Nothing is believed of it afterwards.
    expect(await restored()).toMatchObject({ way: "compare" });
    expectContent(path, VOLUME);
  };

  test("is refused when a chunk was written and is then changed", async () => {
    await expectRefused(meddling(2 * CHUNK_BYTES, () => flip(CHUNK_BYTES + 3)));
  });

  test("is refused when a chunk matched and is then changed", async () => {
    fs.writeFileSync(path, VOLUME.slice(0, -1));
    await expectRefused(meddling(2 * CHUNK_BYTES, () => flip(CHUNK_BYTES + 3)));
  });

  test("is refused when all matched, and nothing had to be written", async () => {
    fs.writeFileSync(path, VOLUME);
    await expectRefused(meddling(SIZE_BYTES, () => flip(CHUNK_BYTES + 3)));
  });

  test("is refused when it is cut", async () => {
    fs.writeFileSync(path, VOLUME);
    await expectRefused(meddling(SIZE_BYTES, () => fs.truncateSync(path, SIZE_BYTES - 1)));
  });

  test("is refused when nothing of it was read, for it was known", async () => {
    await restored();
    await expectRefused(meddling(SIZE_BYTES, () => flip(0)));
  });
});
