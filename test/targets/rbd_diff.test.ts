/** openRbdDiffTarget(): the stream that a restore writes, decoded again. */
import { beforeEach, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeError } from "../../src/errors.ts";
import { openRbdDiffTarget, type RbdDiffOptions } from "../../src/targets/rbd_diff.ts";
import type { Target } from "../../src/targets/target.ts";
import { noise } from "../kit/engine.ts";
import { bytes, decodeAll, encodeDiff } from "../kit/rbd_stream.ts";
import { scratchFolder } from "../kit/scratch.ts";

const MIB = 1 << 20;
const folder = scratchFolder();
const file = join(folder, "stream");
beforeEach(() => rmSync(file, { force: true }));
const FROM = bytes("tuesday");
const TO = new Uint8Array([0xff, 0x20, 0xfe]); // no UTF-8

/** The stream that `work` makes of a volume of 10 MiB. */
async function streamOf(
  work: (target: Target) => Promise<void>,
  options: Partial<RbdDiffOptions> = {},
): Promise<Uint8Array> {
  const { signal } = new AbortController();
  const names = { fromSnapshot: FROM, toSnapshot: TO };
  const defaults = { sizeBytes: 10 * MIB, ...names, dryRun: false, force: false, signal };
  const target = await openRbdDiffTarget(file, { ...defaults, ...options });
  try {
    await work(target);
  } finally {
    await target.close();
  }
  return new Uint8Array(readFileSync(file));
}

test("a stream is byte for byte what rbd writes when there are data and zeros", async () => {
  const stream = await streamOf(async (target) => {
    await target.write(MIB, noise(1, 5000));
    await target.zero(3 * MIB, MIB);
    await target.write(9 * MIB, noise(2, MIB));
    await target.sync();
  });
  const wanted = encodeDiff([
    { tag: "f", name: FROM },
    { tag: "t", name: TO },
    { tag: "s", sizeBytes: 10 * MIB },
    { tag: "w", offset: MIB, data: noise(1, 5000) },
    { tag: "z", offset: 3 * MIB, length: MIB },
    { tag: "w", offset: 9 * MIB, data: noise(2, MIB) },
    { tag: "e" },
  ]);
  expect(Buffer.compare(stream, wanted)).toBe(0);
});

test("a stream has no record of a snapshot when there is none, and is for an empty image without the first", async () => {
  const full = await streamOf(async (target) => {
    expect(target.empty).toBe(true);
    await target.sync();
  }, { fromSnapshot: undefined, toSnapshot: undefined });
  expect(full).toEqual(encodeDiff([{ tag: "s", sizeBytes: 10 * MIB }, { tag: "e" }]));
  rmSync(file);
  await streamOf(async (target) => expect(target.empty).toBe(false));
});

test("zero() makes one record of neighbours, and another behind a gap or data", async () => {
  const stream = await streamOf(async (target) => {
    for (const offset of [0, 1, 2, 5, 6]) await target.zero(offset * MIB, MIB);
    await target.write(7 * MIB, noise(1, 10));
    await target.zero(8 * MIB, MIB);
    await target.zero(9 * MIB, MIB);
    await target.sync();
  });
  expect(decodeAll(stream).slice(1)).toEqual([
    { kind: "zero", offset: 0, length: 3 * MIB },
    { kind: "zero", offset: 5 * MIB, length: 2 * MIB },
    { kind: "data", offset: 7 * MIB, data: noise(1, 10) },
    { kind: "zero", offset: 8 * MIB, length: 2 * MIB },
    { kind: "end" },
  ]);
});

test("close() leaves a stream without its end when there was no sync()", async () => {
  const stream = await streamOf(async (target) => {
    await target.write(0, noise(1, 100));
    await target.zero(MIB, MIB);
  });
  expect(stream.at(-1)).not.toBe("e".charCodeAt(0));
  expect(() => decodeAll(stream)).toThrow();
});

test("openRbdDiffTarget() overwrites a file that is longer with force", async () => {
  writeFileSync(file, noise(1, MIB));
  const stream = await streamOf((target) => target.sync(), { force: true });
  expect(decodeAll(stream).at(-1)).toEqual({ kind: "end" });
});

test("openRbdDiffTarget() leaves a file that has content without force, and takes an empty one", async () => {
  writeFileSync(file, "before");
  for (const dryRun of [false, true]) {
    expect(await streamOf((target) => target.sync(), { dryRun }).catch(describeError)).toBe(
      `Cannot restore to "${file}": it has 6 bytes; use --force to overwrite it`,
    );
  }
  expect(readFileSync(file, "utf8")).toBe("before");
  writeFileSync(file, "");
  expect(decodeAll(await streamOf((target) => target.sync())).at(-1)).toEqual({ kind: "end" });
});

test("openRbdDiffTarget() leaves a file as it is in a dry run, and makes none", async () => {
  writeFileSync(file, "before");
  const left = await streamOf(async (target) => expect(target.name).toBe(file), {
    dryRun: true,
    force: true,
  });
  expect(Buffer.from(left).toString()).toBe("before");
  rmSync(file);
  const opened = streamOf(async () => {}, { dryRun: true });
  expect(await opened.catch((error) => error.code)).toBe("ENOENT");
});

test("openRbdDiffTarget() throws and names the path when it cannot be made", async () => {
  const path = join(folder, "none", "stream");
  const { signal } = new AbortController();
  const options = {
    sizeBytes: 1,
    fromSnapshot: undefined,
    toSnapshot: undefined,
    dryRun: false,
    force: false,
    signal,
  };
  const error = await openRbdDiffTarget(path, options).catch((error) => error);
  expect(describeError(error)).toStartWith(`Cannot restore to "${path}": the directory "`);
});

test("read() and dropCache() throw: a stream cannot be read", async () => {
  await streamOf(async (target) => {
    expect(target.readableBytes).toBe(0);
    for (const work of [target.read(0, new Uint8Array(1)), target.dropCache()]) {
      expect(await work.catch(describeError)).toBe(`Cannot read "${file}": it is a stream`);
    }
  });
});

test("openRbdDiffTarget() makes no file in the place of a device that is not there", async () => {
  const name = "/dev/varve-nothing";
  const options = {
    sizeBytes: MIB,
    fromSnapshot: undefined,
    toSnapshot: undefined,
    force: false,
    signal: new AbortController().signal,
  };
  for (const dryRun of [false, true]) {
    const text = await openRbdDiffTarget(name, { ...options, dryRun }).then(() => "no error", describeError);
    expect(text).toBe(`Cannot restore to "${name}": the device does not exist; map or attach it first`);
  }
  expect(existsSync(name)).toBe(false);
});
