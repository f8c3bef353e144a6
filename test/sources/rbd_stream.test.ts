/** The source over a stream: however its bytes arrive, the same differences; and nothing that is not whole. */
import { afterEach, describe, expect, mock, spyOn, test } from "bun:test";
import fs from "node:fs";
import fc from "fast-check";
import { StreamError } from "../../src/errors.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { validRecords } from "../kit/rbd_records.ts";
import { bytes, encodeDiff, encodeExport, readDiff, type TestRecord } from "../kit/rbd_stream.ts";
import { scratchPaths } from "../kit/scratch.ts";
import { errorOf, makeFifo, open, readAll } from "../kit/sources.ts";

const scratch = scratchPaths();

const FIRST: TestRecord[] = [
  { tag: "t", name: "one" },
  { tag: "s", sizeBytes: 9000 },
  { tag: "w", offset: 4000, data: utf8("some data") },
  { tag: "z", offset: 0, length: 10 },
  { tag: "w", offset: 8999, data: utf8("x") },
  { tag: "e" },
];
const SECOND: TestRecord[] = [{ tag: "f", name: "one" }, { tag: "s", sizeBytes: 4 }, { tag: "e" }];

function file(content: Uint8Array): string {
  const path = scratch("stream");
  fs.writeFileSync(path, content);
  return path;
}

/** From now on the first read gives at most `firstBytes`, the later ones at most `laterBytes`. */
function limitReads(firstBytes: number, laterBytes: number): void {
  const { read } = fs;
  let limit = firstBytes;
  const limited = (fd: number, into: Uint8Array, ...rest: [number, number, number | null, never]) => {
    const [offset, length, position, callback] = rest;
    read(fd, into, offset, Math.min(length, limit), position, callback);
    limit = laterBytes;
  };
  spyOn(fs, "read").mockImplementation(limited as unknown as typeof fs.read);
}

afterEach(() => {
  mock.restore();
});

describe("RbdStreamSource.diffs()", () => {
  test("gives the same when the stream arrives in two parts, split anywhere", async () => {
    for (const stream of [encodeDiff(FIRST), encodeExport([FIRST, SECOND])]) {
      const path = file(stream);
      const whole = await readAll(await open(path));
      expect(whole[0]!.extents).toHaveLength(3);
      for (let split = 1; split < stream.length; split += 1) {
        limitReads(split, Infinity);
        expect(await readAll(await open(path))).toEqual(whole);
        mock.restore();
      }
    }
  });

  test("gives the same when the stream arrives in pieces of any one size", async () => {
    const stream = encodeExport([FIRST, SECOND]);
    const path = file(stream);
    const whole = await readAll(await open(path));
    for (let sizeBytes = 1; sizeBytes < 40; sizeBytes += 1) {
      limitReads(sizeBytes, sizeBytes);
      expect(await readAll(await open(path))).toEqual(whole);
      mock.restore();
    }
  });

  test("throws where the stream stops when it is cut anywhere", async () => {
    for (const stream of [encodeDiff(FIRST), encodeExport([FIRST, SECOND])]) {
      for (let end = 0; end < stream.length; end += 1) {
        const error = await errorOf(open(file(stream.subarray(0, end))).then((source) => readAll(source)));
        expect(error).toBeInstanceOf(StreamError);
        expect(error.offset).toBe(end);
      }
    }
  });

  test("gives what the writer put in, for any records and any pieces", async () => {
    await fc.assert(
      fc.asyncProperty(validRecords, fc.integer({ min: 1, max: 99 }), async (records, pieceBytes) => {
        const [diff] = await readAll(await open(file(encodeDiff(records))), pieceBytes);
        const data = records.filter((record) => record.tag === "w").map((record) => record.data);
        expect(diff!.extents.flatMap(({ data }) => data ?? [])).toEqual(data);
      }),
      { numRuns: 50 },
    );
  });

  test("hands large data out as it is, through a named pipe, a piece at a time", async () => {
    const data = Uint8Array.from({ length: 3_000_001 }, (_, at) => (at * 31) >> 3);
    const records: TestRecord[] = [
      { tag: "s", sizeBytes: 2 ** 40 },
      { tag: "w", offset: 2 ** 39 + 5, data },
      {
        tag: "e",
      },
    ];
    const path = makeFifo(scratch("fifo"));
    const writing = Bun.spawn(["sh", "-c", 'cat > "$0"', path], { stdin: encodeDiff(records) });
    const source = await open(path);
    const [diff] = await readAll(source, 400_000);
    expect(diff!.extents[0]!.offset).toBe(2 ** 39 + 5);
    expect(Buffer.compare(diff!.extents[0]!.data!, data)).toBe(0);
    expect(source.bytesRead).toBe(encodeDiff(records).length);
    expect(await writing.exited).toBe(0);
  });

  test("does not return when bytes follow the end", async () => {
    const error = await errorOf(readAll(await open(file(bytes(encodeDiff(FIRST), "\0")))));
    expect(error.message).toContain("more bytes after its end record");
    expect(error.message).toContain(scratch("stream"));
  });

  test("waits for the end of file behind the end record", async () => {
    const path = makeFifo(scratch("open end"));
    const opening = open(path);
    const writer = fs.openSync(path, "w");
    fs.writeSync(writer, encodeDiff(FIRST));
    const source = await opening;
    const diffs = source.diffs();
    await readDiff((await diffs.next()).value!);
    let returned = false;
    const end = diffs.next().then(() => returned = true);
    await new Promise(setImmediate);
    expect(returned).toBe(false);
    fs.closeSync(writer);
    expect(await end).toBe(true);
    await source.close();
  });

  test("is a defect of the consumer when it leaves data or extents unread", async () => {
    const source = await open(file(encodeDiff(FIRST)));
    const extents = (await source.diffs().next()).value!.extents();
    await extents.next();
    expect((await errorOf(extents.next())).message).toBe("An extent was not read to its end");
    await source.close();

    const other = await open(file(encodeDiff(FIRST)));
    const diffs = other.diffs();
    await diffs.next();
    const error = await errorOf(diffs.next());
    expect(error.message).toBe("The extents of a difference were not read to their end");
    await other.close();
  });

  test("is a defect of the consumer when it reads past an extent", async () => {
    const source = await open(file(encodeDiff(FIRST)));
    const extent = (await (await source.diffs().next()).value!.extents().next()).value!;
    if (extent.kind !== "data") throw new Error("The first extent is data");
    expect(() => extent.read(new Uint8Array(10))).toThrow("An extent was read past its end");
    await source.close();
  });
});
