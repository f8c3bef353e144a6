/** The container of `rbd export --export-format 2`. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { utf8 } from "../../src/util/bytes.ts";
import {
  expectRefusedOrValidWhenDamaged,
  expectRefusedWhenCut,
  streamErrorOf,
} from "../kit/damaged_streams.ts";
import { expectedSteps, validRecords } from "../kit/rbd_records.ts";
import { bytes, decodeAll, encodeExport, le32, le64, type TestRecord } from "../kit/rbd_stream.ts";

const GOLDEN = bytes(
  ...["rbd image v2\n", "O", le64(8), le64(22), "T", le64(8), le64(61)],
  ...["M", le64(11), le32(1), "k", le32(2), "vv", "E", "rbd image diffs v2\n", le64(2)],
  ...["rbd diff v2\n", "t", le64(7), le32(3), "one", "p", le64(8), "\u0001", "s", le64(8), le64(100)],
  ...["w", le64(19), le64(97), le64(3), "abc", "z", le64(16), le64(0), le64(9), "e"],
  ...["rbd diff v2\n", "f", le64(7), le32(3), "one", "s", le64(8), le64(50), "e"],
);

describe("decodeRbdStream() of a container", () => {
  test("hands out each snapshot's difference and the head's", () => {
    expect(decodeAll(GOLDEN)).toEqual([
      { kind: "diff", fromSnapshot: undefined, toSnapshot: utf8("one"), sizeBytes: 100 },
      { kind: "data", offset: 97, data: utf8("abc") },
      { kind: "zero", offset: 0, length: 9 },
      { kind: "end" },
      { kind: "diff", fromSnapshot: utf8("one"), toSnapshot: undefined, sizeBytes: 50 },
      { kind: "end" },
    ]);
  });

  test.each([1, 8] as const)("takes the protection of a snapshot when its length says %d", (frameBytes) => {
    const steps = decodeAll(
      encodeExport([[{ tag: "p", frameBytes }, { tag: "s", sizeBytes: 1 }, { tag: "e" }]]),
    );
    expect(steps).toHaveLength(2);
  });

  test("throws when cut anywhere", () => {
    expectRefusedWhenCut(GOLDEN, "abc");
  });

  test("throws or hands out a valid stream when any one bit is turned over", () => {
    expectRefusedOrValidWhenDamaged(GOLDEN);
  });

  test("hands out what the writer put in, for any list of differences", () => {
    fc.assert(fc.property(fc.array(validRecords, { minLength: 1, maxLength: 4 }), (diffs) => {
      const stream = encodeExport(diffs, [{ tag: "M", value: new Uint8Array(10_000) }]);
      expect(decodeAll(stream)).toEqual(diffs.flatMap(expectedSteps) as never);
    }));
  });
});

const DIFF: TestRecord[] = [{ tag: "s", sizeBytes: 10 }, { tag: "e" }];
const START = bytes("rbd image v2\nErbd image diffs v2\n", le64(1), "rbd diff v2\n");

describe("decodeRbdStream() of a container throws and names the place when it meets", () => {
  const cases: [string, Uint8Array, { offset: number; says: string }][] = [
    ["a banner that goes on differently", bytes("rbd image v2!"), {
      offset: 12,
      says: '"!" instead of "\\x0a"',
    }],
    ["another banner of differences", bytes("rbd image v2\nErbd image diffs v3\n"), {
      offset: 14,
      says: '"rbd image diffs v3\\x0a" instead of',
    }],
    ["no difference", encodeExport([]), { offset: 33, says: "no differences" }],
    ["a count near 2^64", bytes(START.subarray(0, 33), le64(2n ** 64n - 1n)), {
      offset: 33,
      says: "a count of differences",
    }],
    ["a property of 17 MiB", bytes("rbd image v2\nM", le64(17 * 2 ** 20)), {
      offset: 14,
      says: "image property of 17825792 bytes",
    }],
    [
      "fewer differences than told",
      bytes(START.subarray(0, 33), le64(2), encodeExport([DIFF]).subarray(41)),
      {
        offset: 71,
        says: "the stream ends before its end record",
      },
    ],
    ["more differences than told", bytes(encodeExport([DIFF]), "rbd diff v2\n"), {
      offset: 71,
      says: "more bytes",
    }],
    ["the banner of v1 inside", bytes(START.subarray(0, 41), "rbd diff v1\n"), {
      offset: 41,
      says: '"rbd diff v1\\x0a" instead of',
    }],
    ["an unknown tag", bytes(START, "q", le64(8)), { offset: 53, says: 'unknown tag "q" (0x71)' }],
    ["a size record of 9 bytes", bytes(START, "s", le64(9), le64(1)), {
      offset: 53,
      says: '"s" (0x73) record of 9 bytes instead of 8',
    }],
    ["a name whose two lengths differ", bytes(START, "t", le64(9), le32(3), "one"), {
      offset: 53,
      says: "of 9 bytes instead of 7",
    }],
    [
      "data whose two lengths differ",
      bytes(START, "s", le64(8), le64(99), "w", le64(18), le64(0), le64(3), "abc"),
      {
        offset: 70,
        says: '"w" (0x77) record of 18 bytes instead of 19',
      },
    ],
    [
      "zeros whose record is too long",
      bytes(START, "s", le64(8), le64(99), "z", le64(17), le64(0), le64(3)),
      {
        offset: 70,
        says: "of 17 bytes instead of 16",
      },
    ],
    ["a protection of 2 bytes", bytes(START, "p", le64(2), "aa"), {
      offset: 53,
      says: '"p" (0x70) record of 2 bytes',
    }],
    ["a second protection", encodeExport([[{ tag: "p", frameBytes: 8 }, { tag: "p", frameBytes: 8 }]]), {
      offset: 63,
      says: 'a second "p"',
    }],
  ];
  test.each(cases)("%s", (_, stream, expected) => {
    const error = streamErrorOf(stream);
    expect(error.message).toContain(expected.says);
    expect(error.offset).toBe(expected.offset);
  });
});
