/** DirectFile: the same bytes whichever way they go, and whole blocks past the page cache wherever that is possible. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import fc from "fast-check";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectFile } from "../../src/os/direct_file.ts";
import { describeWith } from "../kit/parts.ts";
import { underStrace } from "../kit/strace.ts";

const DIRECT_FILE = join(import.meta.dirname, "../../src/os/direct_file.ts");
const BUFFERS = join(import.meta.dirname, "../../src/volume/pool/buffers.ts");
const BLOCK = 4096;
const FILE_BYTES = 80 * BLOCK;

let folder: string;
beforeEach(() => void (folder = fs.mkdtempSync(join(tmpdir(), "varve-direct-"))));
afterEach(() => fs.rmSync(folder, { recursive: true }));

async function openFile(path: string): Promise<DirectFile> {
  const { O_RDWR, O_CREAT } = fs.constants;
  return await DirectFile.over(fs.openSync(path, O_RDWR | O_CREAT, 0o600), O_RDWR);
}

/** `length` bytes at an address that is `shift` past a page. */
function bytesAt(shift: number, length: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(FILE_BYTES * 2)).subarray(shift, shift + length);
}

// Blocks and odd numbers of bytes, offsets and addresses, so that every way and every change between them is taken.
const place = fc.oneof(fc.nat(40).map((block) => block * BLOCK), fc.nat(FILE_BYTES / 2));
const length = fc.oneof(fc.nat(36).map((blocks) => blocks * BLOCK), fc.nat(FILE_BYTES / 2));
const shift = fc.constantFrom(0, 0, BLOCK, 8);
const transfer = fc.record({
  kind: fc.constantFrom("read", "write"),
  offset: place,
  length,
  shift,
  fill: fc.nat(255),
});

test("read() and write() keep a file as an array of bytes, in any order and size", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(transfer, { minLength: 1, maxLength: 12 }), async (transfers) => {
      const file = await openFile(join(folder, crypto.randomUUID()));
      const model = new Uint8Array(FILE_BYTES);
      let size = 0;
      for (const { kind, offset, length, shift, fill } of transfers) {
        const bytes = bytesAt(shift, length);
        if (kind === "write") {
          for (let at = 0; at < length; at++) bytes[at] = fill + at * 7;
          await file.write(bytes, offset);
          model.set(bytes, offset);
          if (length > 0) size = Math.max(size, offset + length);
        } else {
          const there = Math.max(0, Math.min(length, size - offset));
          expect(await file.read(bytes, offset)).toBe(there);
          expect(Buffer.compare(bytes.subarray(0, there), model.subarray(offset, offset + there))).toBe(0);
        }
      }
      const whole = new Uint8Array(size);
      expect(fs.readSync(file.fd, whole, 0, size, 0)).toBe(size);
      expect(Buffer.compare(whole, model.subarray(0, size))).toBe(0);
      await file.close();
    }),
    { numRuns: 150 },
  );
});

test("over() works on what knows no way past the cache", async () => {
  const { O_RDONLY } = fs.constants;
  const file = await DirectFile.over(fs.openSync("/dev/null", O_RDONLY), O_RDONLY);
  expect(await file.read(bytesAt(0, 128 * 1024), 0)).toBe(0);
  await file.close();
});

describeWith(["strace"], "DirectFile under strace", () => {
  test("whole blocks of a pool's buffer go past the cache, the rest does not", async () => {
    const { calls, contents } = await trace(["-e", "trace=pwrite64"]);
    expect(calls).toEqual(["direct 4194304", "usual 5"]);
    expect(contents).toBe("4194309");
  });
  test("write() goes the usual way when the other is refused", async () => {
    const inject = "inject=pwrite64:error=EINVAL:when=1";
    const { calls, contents } = await trace(["-e", "trace=pwrite64", "-e", inject]);
    expect(calls[0]).toBe("direct -1");
    expect(calls.slice(1)).not.toContainEqual(expect.stringContaining("direct"));
    expect(contents).toBe("4194309");
  });
  test("write() throws any other error of a write past the cache", async () => {
    const inject = "inject=pwrite64:error=EIO:when=1";
    const { contents } = await trace(["-e", "trace=pwrite64", "-e", inject]);
    expect(contents).toBe("EIO");
  });
});

/** Writes 4 MiB and 5 bytes of one buffer: the writes, and the bytes that were right afterwards, or the error's code. */
async function trace(strace: string[]): Promise<{ calls: string[]; contents: string }> {
  const [path, log] = [join(folder, "file"), join(folder, "log")];
  const program = `
    const { DirectFile } = await import("${DIRECT_FILE}");
    const { BufferPool } = await import("${BUFFERS}");
    const fs = await import("node:fs");
    const { bytes } = await new BufferPool(1, 4194304 + 16384).acquire();
    bytes.fill(7);
    const { O_WRONLY, O_CREAT } = fs.constants;
    const file = await DirectFile.over(fs.openSync("${path}", O_WRONLY | O_CREAT), O_WRONLY);
    const write = () => file.write(bytes.subarray(0, 4194304 + 5), 0);
    try {
      // strace counts for each thread: what is to fail once may fail in two of them.
      await write().catch((error) => error.code === "EINVAL" ? write() : Promise.reject(error));
      process.stdout.write(String(fs.readFileSync("${path}").filter((byte) => byte === 7).length));
    } catch (error) {
      process.stdout.write(error.code);
    }`;
  const contents = await underStrace(["-y", "-o", log, "-P", path, ...strace], program);
  return { calls: callsIn(fs.readFileSync(log, "utf8")), contents };
}

/** `direct` and `usual` by the descriptor, which is the file's second or its first, and what the call returned. */
function callsIn(log: string): string[] {
  const calls = [...log.matchAll(/pwrite64\((\d+)<.*\) *= (-?\d+)/g)].map(([, fd, result]) => ({
    fd: Number(fd),
    result,
  }));
  const usual = Math.min(...calls.map(({ fd }) => fd));
  return calls.map(({ fd, result }) => `${fd === usual ? "usual" : "direct"} ${result}`);
}
