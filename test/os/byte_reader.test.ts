/** The reader over pipes and files: what it hands out, how it ends, and that nobody waits for a silent pipe. */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import { describeError } from "../../src/errors.ts";
import { ByteReader } from "../../src/os/byte_reader.ts";
import { makePipe } from "../../src/os/pipes.ts";
import { scratchPaths } from "../kit/scratch.ts";
import { errorOf } from "../kit/sources.ts";

const scratch = scratchPaths();
const LARGE_BYTES = 1_000_003;

function numbered(sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, at) => (at * 7 + (at >> 8)) & 0xff);
}

function readerOf(content: Uint8Array, position?: number): ByteReader {
  const path = scratch("file");
  fs.writeFileSync(path, content);
  const signal = new AbortController().signal;
  return new ByteReader(fs.openSync(path, "r"), {
    name: "file",
    signal,
    ...(position === undefined ? {} : { position }),
  });
}

describe("ByteReader", () => {
  test("take() and fill() give the file's bytes in turn and count them", async () => {
    const content = numbered(LARGE_BYTES);
    const reader = readerOf(content);
    expect((await reader.take(3)).slice()).toEqual(content.slice(0, 3));
    const large = new Uint8Array(500_000);
    expect(await reader.fill(large)).toBe(large.length);
    expect(large).toEqual(content.slice(3, 500_003));
    expect(reader.offset).toBe(500_003);
    expect((await reader.take(4096)).slice()).toEqual(content.slice(500_003, 504_099));
    const rest = new Uint8Array(LARGE_BYTES);
    expect(await reader.fill(rest)).toBe(LARGE_BYTES - 504_099);
    expect(rest.slice(0, LARGE_BYTES - 504_099)).toEqual(content.slice(504_099));
    expect((await reader.take(1)).length).toBe(0);
    expect(reader.offset).toBe(LARGE_BYTES);
    reader.close();
  });

  test("take() gives what is left when the file ends within", async () => {
    const reader = readerOf(numbered(10));
    await reader.take(7);
    expect((await reader.take(7)).slice()).toEqual(numbered(10).slice(7));
    reader.close();
  });

  test("fill() reads into shared memory", async () => {
    const content = numbered(LARGE_BYTES);
    const shared = new Uint8Array(new SharedArrayBuffer(LARGE_BYTES));
    const reader = readerOf(content);
    expect(await reader.fill(shared)).toBe(LARGE_BYTES);
    expect(Buffer.compare(shared, content)).toBe(0);
    reader.close();
  });

  test("skip() leaves out bytes, whether they are in the buffer or not", async () => {
    const content = numbered(LARGE_BYTES);
    const reader = readerOf(content, 0);
    await reader.take(1);
    reader.skip(9);
    expect((await reader.take(2)).slice()).toEqual(content.slice(10, 12));
    reader.skip(700_000);
    expect((await reader.take(2)).slice()).toEqual(content.slice(700_012, 700_014));
    expect(reader.offset).toBe(700_014);
    reader.close();
  });

  test("a read fails with the signal's reason at once when a silent pipe is waited for", async () => {
    const { readFd, writeFd } = makePipe();
    const abort = new AbortController();
    const reader = new ByteReader(readFd, { name: "pipe", signal: abort.signal });
    const waiting = errorOf(reader.take(1));
    const reason = new Error("enough");
    abort.abort(reason);
    expect(await waiting).toBe(reason);
    expect(await errorOf(reader.fill(new Uint8Array(5)))).toBe(reason);
    reader.close();
    fs.closeSync(writeFd);
  });

  test("close() fails the read under way, and closes the descriptor only after it", async () => {
    const { readFd, writeFd } = makePipe();
    const reader = new ByteReader(readFd, { name: "pipe", signal: new AbortController().signal });
    const waiting = errorOf(reader.take(1));
    reader.close();
    reader.close();
    expect((await waiting).message).toBe('Cannot read "pipe": it is closed');
    expect(fs.fstatSync(readFd).isFIFO()).toBe(true);
    fs.closeSync(writeFd);
    while (isOpen(readFd)) await new Promise(setImmediate);
    expect((await errorOf(reader.take(1))).message).toBe('Cannot read "pipe": it is closed');
  });

  test("nobody hears of the end when what must hold at the end does not", async () => {
    const { readFd, writeFd } = makePipe();
    fs.writeSync(writeFd, "abc");
    fs.closeSync(writeFd);
    const atEnd = () => Promise.reject(new Error("the child failed"));
    const reader = new ByteReader(readFd, { name: "pipe", signal: new AbortController().signal, atEnd });
    expect((await reader.take(3)).length).toBe(3);
    expect((await errorOf(reader.take(1))).message).toBe("the child failed");
    expect((await errorOf(reader.fill(new Uint8Array(1)))).message).toBe("the child failed");
    reader.close();
  });

  test("an error of the system names the thing, the place and the cause", async () => {
    const { signal } = new AbortController();
    const reader = new ByteReader(fs.openSync("/", "r"), { name: "/", signal });
    expect(describeError(await errorOf(reader.take(1)))).toBe(
      'Cannot read "/" at offset 0: illegal operation on a directory (EISDIR)',
    );
    const positioned = new ByteReader(fs.openSync("/", "r"), { name: "/", signal, position: 0 });
    positioned.skip(4096);
    const failed = await errorOf(positioned.fill(new Uint8Array(1 << 20)));
    expect(describeError(failed)).toBe(
      'Cannot read "/" at offset 4096: illegal operation on a directory (EISDIR)',
    );
    reader.close();
  });
});

function isOpen(fd: number): boolean {
  try {
    fs.fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}
