/** RandomAccessTarget: zeros, and that no error of a write is ever forgotten. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { DirectFile } from "../../src/os/direct_file.ts";
import { type RandomAccessOptions, RandomAccessTarget } from "../../src/targets/random_access.ts";
import { failureOf } from "../kit/rejection.ts";

const MIB = 1 << 20;
let folder: string;
let name: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-target-"));
  name = path.join(folder, "x.img");
  fs.writeFileSync(name, Buffer.alloc(4 * MIB, 0xa5));
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

async function target(path: string, options: Partial<RandomAccessOptions> = {}): Promise<RandomAccessTarget> {
  const handle = await DirectFile.over(fs.openSync(path, "r+"), fs.constants.O_RDWR);
  return new RandomAccessTarget(handle, {
    name: path,
    empty: false,
    readableBytes: 0,
    ...options,
  });
}

/** Where the zeros of a file are, as `[first, end]`, if they are in one piece. */
function zeros(): [number, number] {
  const bytes = fs.readFileSync(name);
  const [first, last] = [bytes.indexOf(0), bytes.lastIndexOf(0)];
  expect(bytes.subarray(first, last + 1).every((byte) => byte === 0)).toBe(true);
  return [first, last + 1];
}

test("zero() frees exactly the range when the file system can punch holes", async () => {
  const before = fs.statSync(name).blocks;
  const file = await target(name);
  await file.zero(MIB + 5, MIB);
  await file.close();
  expect(zeros()).toEqual([MIB + 5, 2 * MIB + 5]);
  expect(fs.statSync(name).blocks).toBeLessThan(before);
  expect(fs.statSync(name).size).toBe(4 * MIB);
});

test("zero() writes exactly the range when no hole can be punched", async () => {
  const before = fs.statSync(name).blocks;
  const file = await target(name, { punch: () => false });
  await file.zero(5, 2 * MIB + 1);
  await file.close();
  expect(zeros()).toEqual([5, 2 * MIB + 6]);
  expect(fs.statSync(name).blocks).toBe(before);
});

test("sync() throws the write's error when a write failed before it", async () => {
  const file = await target("/dev/full");
  const wanted = 'Cannot write "/dev/full" at offset 7: no space left on device (ENOSPC)';
  expect(await failureOf(file.write(7, new Uint8Array(16)))).toStartWith(wanted);
  expect(await failureOf(file.sync())).toStartWith(wanted);
  await file.close();
});

test("sync() throws when what must run before or after it fails", async () => {
  for (const hook of ["beforeSync", "afterSync"]) {
    const file = await target(name, { [hook]: () => Promise.reject(new Error(hook)) });
    expect(await failureOf(file.sync())).toBe(`Cannot sync "${name}": ${hook}`);
    await file.close();
  }
});

test("read() throws when the file ends inside the range", async () => {
  const file = await target(name);
  const text = await failureOf(file.read(4 * MIB - 4, new Uint8Array(8)));
  await file.close();
  expect(text).toBe(`Cannot read "${name}" at offset ${4 * MIB - 4}: it ends at ${4 * MIB}`);
});

test("sync() still succeeds when only a read failed", async () => {
  const file = await target(name);
  await failureOf(file.read(8 * MIB, new Uint8Array(8)));
  await file.sync();
  await file.close();
  await file.close();
});
