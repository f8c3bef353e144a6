/** openTarget() on regular files, FIFOs and what is neither. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { openTarget } from "../../src/targets/open.ts";
import { run } from "../kit/loop_device.ts";
import { failureOf } from "../kit/rejection.ts";

const KIB = 1024;
let folder: string;
const signal = new AbortController().signal;

beforeEach(() => void (folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-target-"))));
afterEach(() => fs.rmSync(folder, { recursive: true }));

function pattern(sizeBytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 31 + seed) & 0xff);
}

describe("openTarget() on a new file", () => {
  test("openTarget() makes an empty, sparse, private file when there is none", async () => {
    const name = path.join(folder, "new.img");
    const target = await openTarget(name, { sizeBytes: 64 * KIB + 7, force: false, signal });
    expect(target).toMatchObject({ name, empty: true, readableBytes: 0, gaps: "kept" });
    await target.write(4 * KIB, pattern(4 * KIB));
    await target.sync();
    await target.close();
    const { size, blocks, mode } = fs.statSync(name);
    expect({ size, sparse: blocks * 512 < size, mode: mode & 0o777 }).toEqual({
      size: 64 * KIB + 7,
      sparse: true,
      mode: 0o600,
    });
    expect(new Uint8Array(fs.readFileSync(name)).subarray(4 * KIB, 8 * KIB)).toEqual(pattern(4 * KIB));
  });

  test("openTarget() makes a file of no bytes when the volume has none", async () => {
    const name = path.join(folder, "none.img");
    const target = await openTarget(name, { sizeBytes: 0, force: false, signal });
    await target.sync();
    await target.close();
    expect(fs.statSync(name).size).toBe(0);
  });

  test("openTarget() throws when the folder does not exist", async () => {
    const name = path.join(folder, "absent", "x.img");
    const text = await failureOf(openTarget(name, { sizeBytes: 1, force: false, signal }));
    expect(text).toBe(
      `Cannot restore to "${name}": the directory "${
        path.dirname(name)
      }" does not exist; mount or create it first`,
    );
  });

  test("openTarget() makes no file in the place of a device that is not there", async () => {
    fs.symlinkSync("/dev", path.join(folder, "devices"));
    fs.symlinkSync("/dev/varve-nothing", path.join(folder, "dangling"));
    fs.symlinkSync("dangling", path.join(folder, "again"));
    const names = ["devices/varve-nothing", "dangling", "again"].map((name) => path.join(folder, name));
    for (const name of ["/dev/varve-nothing", ...names]) {
      for (const readOnly of [false, true]) {
        const text = await failureOf(openTarget(name, { sizeBytes: 1, force: true, readOnly, signal }));
        expect(text).toBe(`Cannot restore to "${name}": the device does not exist; map or attach it first`);
      }
    }
    expect(fs.existsSync("/dev/varve-nothing")).toBe(false);
  });
});

describe("openTarget() on an existing file", () => {
  test("openTarget() keeps the content for comparison when the file exists", async () => {
    const name = path.join(folder, "old.img");
    fs.writeFileSync(name, pattern(16 * KIB));
    const target = await openTarget(name, { sizeBytes: 32 * KIB, force: false, signal });
    expect(target).toMatchObject({ empty: false, readableBytes: 16 * KIB });
    const into = new Uint8Array(new SharedArrayBuffer(4 * KIB));
    await target.read(8 * KIB, into);
    expect(Uint8Array.from(into)).toEqual(pattern(16 * KIB).slice(8 * KIB, 12 * KIB));
    await target.sync();
    await target.close();
    expect(fs.statSync(name).size).toBe(32 * KIB);
  });

  test("openTarget() calls the file empty when it has no bytes", async () => {
    const name = path.join(folder, "empty.img");
    fs.writeFileSync(name, "");
    const target = await openTarget(name, { sizeBytes: KIB, force: false, signal });
    await target.close();
    expect(target.empty).toBe(true);
  });

  test("openTarget() throws when the file is larger, unless a part is restored", async () => {
    const name = path.join(folder, "larger.img");
    fs.writeFileSync(name, pattern(16 * KIB));
    for (const readOnly of [false, true]) {
      const text = await failureOf(openTarget(name, { sizeBytes: 5 * KIB, readOnly, force: true, signal }));
      expect(text).toBe(
        `Cannot restore to "${name}": it has 16384 bytes, more than the volume (5120); use --resize to truncate it`,
      );
    }
    const part = await openTarget(name, { sizeBytes: 5 * KIB, partFrom: 0, force: false, signal });
    await part.write(0, pattern(KIB, 9));
    await part.sync();
    await part.close();
    const wanted = Buffer.concat([pattern(KIB, 9), pattern(16 * KIB).subarray(KIB)]);
    expect(wanted.equals(fs.readFileSync(name))).toBe(true);
  });

  test("sync() cuts a larger file to the volume's size where that is wanted, and nothing does before", async () => {
    const name = path.join(folder, "larger.img");
    fs.writeFileSync(name, pattern(16 * KIB));
    const target = await openTarget(name, { sizeBytes: 5 * KIB, resize: true, force: false, signal });
    expect(target.readableBytes).toBe(16 * KIB);
    expect(fs.statSync(name).size).toBe(16 * KIB);
    await target.sync();
    await target.close();
    expect(new Uint8Array(fs.readFileSync(name))).toEqual(pattern(16 * KIB).slice(0, 5 * KIB));
  });

  test("openTarget() throws when the name is a directory", async () => {
    const text = await failureOf(openTarget(folder, { sizeBytes: 1, force: false, signal }));
    expect(text).toBe(`Cannot restore to "${folder}": it is a directory`);
  });
});

describe("openTarget() on a FIFO", () => {
  test("openTarget() writes in order when the name is a FIFO", async () => {
    const name = path.join(folder, "fifo");
    run(["mkfifo", name]);
    const reader = fs.promises.readFile(name);
    const target = await openTarget(name, { sizeBytes: 3 * KIB, force: false, signal });
    expect(target).toMatchObject({ empty: false, readableBytes: 0, gaps: "zeros" });
    await target.write(0, pattern(KIB));
    await target.zero(KIB, KIB);
    await target.write(2 * KIB, pattern(KIB, 9));
    await target.sync();
    await target.close();
    const wanted = Buffer.concat([pattern(KIB), new Uint8Array(KIB), pattern(KIB, 9)]);
    expect(wanted.equals(await reader)).toBe(true);
  });

  test("write() throws when it would leave a gap", async () => {
    const target = await openTarget("/dev/null", { sizeBytes: 8, force: false, signal });
    await target.write(0, pattern(2));
    const text = await failureOf(target.write(4, pattern(2)));
    await target.close();
    expect(text).toBe('Cannot write "/dev/null" at offset 4: its position is 2');
  });

  test("write() throws the signal's reason at once when a full pipe is aborted", async () => {
    const name = path.join(folder, "full");
    run(["mkfifo", name]);
    const reader = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    const controller = new AbortController();
    const target = await openTarget(name, { sizeBytes: 1 << 20, force: false, signal: controller.signal });
    const written = failureOf(target.write(0, new Uint8Array(1 << 20)));
    controller.abort(new Error("stopped here"));
    expect(await written).toBe("stopped here");
    fs.closeSync(reader);
    await target.close();
  });

  test("sync() throws the write's error when the reader has gone", async () => {
    const name = path.join(folder, "gone");
    run(["mkfifo", name]);
    const reader = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    const target = await openTarget(name, { sizeBytes: 8, force: false, signal });
    fs.closeSync(reader);
    expect(await failureOf(target.write(0, pattern(8)))).toStartWith(
      `Cannot write "${name}": its reader has exited`,
    );
    expect(await failureOf(target.sync())).toStartWith(`Cannot write "${name}": its reader has exited`);
    await target.close();
  });
});
