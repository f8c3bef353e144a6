/** Raw sources over files with holes, pipes and a real block device where one can be had. */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import { StreamError } from "../../src/errors.ts";
import { applyDiff, readDiff } from "../kit/rbd_stream.ts";
import { attachLoop, detachLoop, noLoopDevice } from "../kit/loop_device.ts";
import { scratchPaths } from "../kit/scratch.ts";
import { errorOf, makeFifo, open, readAll, readStdin } from "../kit/sources.ts";
import { sparseFile } from "../kit/sparse_file.ts";

const scratch = scratchPaths();
const MIB = 1024 * 1024;

function file(name: string, content: Uint8Array | string): string {
  fs.writeFileSync(scratch(name), content);
  return scratch(name);
}

describe("openSource() of raw bytes", () => {
  test("gives a file's bytes, its size first", async () => {
    const content = Uint8Array.from({ length: 300_001 }, (_, at) => at % 251);
    const source = await open(file("plain", content), { format: "raw" });
    const [diff] = await readAll(source, 70_000);
    expect(diff).toMatchObject({ fromSnapshot: undefined, toSnapshot: undefined, sizeBytes: content.length });
    expect(applyDiff(new Uint8Array(), diff!)).toEqual(content);
    expect(source.bytesRead).toBe(content.length);
  });

  test("gives an empty file as a volume of no bytes", async () => {
    const [diff] = await readAll(await open(file("empty", ""), { format: "raw" }));
    expect(diff).toMatchObject({ sizeBytes: 0, extents: [] });
  });

  test("gives a file's holes as zeros without reading them", async () => {
    const path = sparseFile(scratch("sparse"));
    const [diff] = await readAll(await open(path, { format: "raw" }), 500_000);
    const kinds = diff!.extents.map((
      { offset, length, data },
    ) => [data === undefined ? "hole" : "data", offset, length]);
    expect(kinds).toEqual([["data", 0, MIB], ["hole", MIB, 2 * MIB], ["data", 3 * MIB, MIB], [
      "hole",
      4 * MIB,
      MIB + 5,
    ]]);
    expect(Buffer.compare(applyDiff(new Uint8Array(), diff!), fs.readFileSync(path))).toBe(0);
  });

  test.each([["data", MIB - 7], ["a hole", 5 * MIB]])(
    "throws when a file gets shorter within %s",
    async (_, sizeBytes) => {
      const path = sparseFile(scratch("shrinking"));
      const source = await open(path, { format: "raw" });
      fs.truncateSync(path, sizeBytes);
      const error = await errorOf(readAll(source));
      expect(error).toBeInstanceOf(StreamError);
      expect(error.message).toContain(`Cannot read "${path}": it shrank below 5242885 bytes`);
    },
  );

  test("gives a pipe's bytes, its size last", async () => {
    const content = Uint8Array.from({ length: 9_000_000 }, (_, at) => at % 253);
    const source = await open({ command: ["cat", file("content", content)] }, { format: "raw" });
    const diffs = source.diffs();
    const diff = (await diffs.next()).value!;
    expect(diff.sizeBytes).toBeUndefined();
    const read = await readDiff(diff, 1_000_000);
    expect(diff.sizeBytes).toBe(content.length);
    expect(read.extents.map(({ length }) => length)).toEqual([...Array(8).fill(MIB), 9_000_000 - 8 * MIB]);
    expect(Buffer.compare(applyDiff(new Uint8Array(), read), content)).toBe(0);
    expect((await diffs.next()).done).toBe(true);
    await source.close();
  });

  test("gives a pipe that ends with a piece's end", async () => {
    const source = await open({ command: ["head", "-c", "1048576", "/dev/zero"] }, { format: "raw" });
    const [diff] = await readAll(source);
    expect(diff).toMatchObject({ sizeBytes: MIB, extents: [{ offset: 0, length: MIB }] });
  });

  test("throws when a pipe is empty: its producer was never there", async () => {
    const path = makeFifo(scratch("fifo"));
    const opening = open(path, { format: "raw" });
    fs.closeSync(fs.openSync(path, "w"));
    expect((await errorOf(readAll(await opening))).message).toContain(`Cannot read "${path}": it is empty`);
  });

  test("takes an rbd stream for bytes", async () => {
    const [diff] = await readAll(await open(file("stream", "rbd diff v1\n"), { format: "raw" }));
    expect(diff!.sizeBytes).toBe(12);
  });
});

describe.skipIf(noLoopDevice !== undefined)(
  `openSource() of a block device (${noLoopDevice ?? "loop"})`,
  () => {
    test("gives its bytes without being told that they are raw", async () => {
      const content = Uint8Array.from({ length: 2 * MIB + 512 }, (_, at) => at % 249);
      const path = attachLoop(file("disk", content));
      try {
        const [diff] = await readAll(await open(path));
        expect(diff!.sizeBytes).toBe(content.length);
        expect(Buffer.compare(applyDiff(new Uint8Array(), diff!), content)).toBe(0);
        const shell = `"$0" "$1" < ${path}`;
        expect(await readStdin(scratch, { shell, format: "auto" })).toBe(`standard input ${content.length}`);
      } finally {
        detachLoop(path);
      }
    });
  },
);
