/** v1 streams: golden bytes, every place to cut them, every bit turned over, and all that may not be in them. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { StreamError } from "../../src/errors.ts";
import { utf8 } from "../../src/util/bytes.ts";
import {
  expectRefusedOrValidWhenDamaged,
  expectRefusedWhenCut,
  streamErrorOf,
} from "../kit/damaged_streams.ts";
import { expectedSteps, validRecords } from "../kit/rbd_records.ts";
import { bytes, decodeAll, encodeDiff, le32, le64, type TestRecord } from "../kit/rbd_stream.ts";

const GOLDEN = bytes(
  ...["rbd diff v1\n", "f", le32(3), "one", "t", le32(4), "zw\u00ef", "s", le64(8192)],
  ...["w", le64(4095), le64(5), "hello", "z", le64(0), le64(4095), "e"],
);

describe("decodeRbdStream()", () => {
  test("hands out the records of a golden stream", () => {
    expect(decodeAll(GOLDEN)).toEqual([
      { kind: "diff", fromSnapshot: utf8("one"), toSnapshot: utf8("zw\u00ef"), sizeBytes: 8192 },
      { kind: "data", offset: 4095, data: utf8("hello") },
      { kind: "zero", offset: 0, length: 4095 },
      { kind: "end" },
    ]);
  });

  test("takes metadata in any order, and a stream without names or extents", () => {
    const stream = encodeDiff([{ tag: "s", sizeBytes: 5 }, { tag: "t", name: "b" }, { tag: "f", name: "a" }, {
      tag: "e",
    }]);
    expect(decodeAll(stream)[0]).toEqual({
      kind: "diff",
      fromSnapshot: utf8("a"),
      toSnapshot: utf8("b"),
      sizeBytes: 5,
    });
    const bare = decodeAll(encodeDiff([{ tag: "s", sizeBytes: 0 }, { tag: "e" }]));
    expect(bare).toEqual([{ kind: "diff", fromSnapshot: undefined, toSnapshot: undefined, sizeBytes: 0 }, {
      kind: "end",
    }]);
  });

  test("keeps a name's bytes as they are when it is not UTF-8", () => {
    const name = new Uint8Array([0xff, 0, 0xfe]);
    const [diff] = decodeAll(encodeDiff([{ tag: "t", name }, { tag: "s", sizeBytes: 0 }, { tag: "e" }]));
    expect(diff).toMatchObject({ toSnapshot: name });
  });

  test("takes a zero extent of terabytes and a size of 4 PiB", () => {
    const sizeBytes = 2 ** 52;
    const steps = decodeAll(
      encodeDiff([{ tag: "s", sizeBytes }, { tag: "z", offset: 1, length: sizeBytes - 1 }, { tag: "e" }]),
    );
    expect(steps[1]).toEqual({ kind: "zero", offset: 1, length: sizeBytes - 1 });
  });

  test("throws at the end of what there is when cut anywhere", () => {
    expectRefusedWhenCut(GOLDEN, "hello");
  });

  test("throws or hands out a valid stream when any one bit is turned over", () => {
    expectRefusedOrValidWhenDamaged(GOLDEN);
  });
});

const HEAD: TestRecord[] = [{ tag: "t", name: "a" }, { tag: "s", sizeBytes: 100 }];
const HEAD_BYTES = encodeDiff(HEAD).length;
const END: TestRecord = { tag: "e" };
const HUGE = 2n ** 64n - 1n;

describe("decodeRbdStream() throws and names the place when it meets", () => {
  const cases: [string, Uint8Array, { offset: number; says: string }][] = [
    ["an empty stream", bytes(), { offset: 0, says: "it is empty" }],
    ["a text", bytes("Hello, this is a text\n"), {
      offset: 0,
      says: 'it starts with "Hello, this ", not with "rbd diff',
    }],
    ["a short text", bytes("Hi\n"), { offset: 0, says: 'it starts with "Hi\\x0a"' }],
    ["a compressed stream", new Uint8Array([0x28, 0xb5, 0x2f, 0xfd]), { offset: 0, says: "(\\xb5/\\xfd" }],
    ["another version", bytes("rbd diff v9\n"), { offset: 0, says: "--format raw" }],
    ["an unknown tag", bytes(encodeDiff(HEAD), "q"), { offset: HEAD_BYTES, says: 'unknown tag "q" (0x71)' }],
    ["an unprintable tag", bytes(encodeDiff(HEAD), "\0"), { offset: HEAD_BYTES, says: "unknown tag 0x00" }],
    ["the tag of v2", bytes(encodeDiff(HEAD), "p"), { offset: HEAD_BYTES, says: 'unknown tag "p"' }],
    ["an unknown tag among extents", bytes(encodeDiff([...HEAD, { tag: "z", offset: 0, length: 1 }]), "Q"), {
      offset: HEAD_BYTES + 17,
      says: 'unknown tag "Q"',
    }],
    ["a name of 4,097 bytes", encodeDiff([{ tag: "f", name: "n".repeat(4097) }]), {
      offset: 13,
      says: "of 4097 bytes",
    }],
    ["a name of 4 GiB", bytes("rbd diff v1\n", "t", le32(0xffffffff)), {
      offset: 13,
      says: "of 4294967295 bytes",
    }],
    ["a name of no bytes", encodeDiff([{ tag: "f", name: "" }]), { offset: 13, says: "of 0 bytes" }],
    ["no size before data", encodeDiff([{ tag: "w", offset: 0, data: bytes("x") }]), {
      offset: 12,
      says: "size record is missing",
    }],
    ["no size at all", encodeDiff([END]), { offset: 12, says: "size record is missing" }],
    ["a second size", encodeDiff([...HEAD, HEAD[1]!]), { offset: HEAD_BYTES, says: 'a second "s"' }],
    ["a second name", encodeDiff([...HEAD, HEAD[0]!]), { offset: HEAD_BYTES, says: 'a second "t"' }],
    [
      "metadata behind data",
      encodeDiff([...HEAD, { tag: "z", offset: 0, length: 1 }, { tag: "f", name: "b" }]),
      {
        offset: HEAD_BYTES + 17,
        says: '"f" (0x66) record after the first extent',
      },
    ],
    ["a size near 2^64", encodeDiff([{ tag: "s", sizeBytes: HUGE }]), {
      offset: 13,
      says: `volume size of ${HUGE}`,
    }],
    ["a size beyond 4 PiB", encodeDiff([{ tag: "s", sizeBytes: 2 ** 52 + 1 }]), {
      offset: 12,
      says: "volume size of 4503599627370497",
    }],
    ["an extent past the end", encodeDiff([...HEAD, { tag: "z", offset: 50, length: 51 }]), {
      offset: HEAD_BYTES,
      says: "an extent of 51 bytes at 50, outside the volume of 100 bytes",
    }],
    ["data past the end", encodeDiff([...HEAD, { tag: "w", offset: 100, data: bytes("x") }]), {
      offset: HEAD_BYTES,
      says: "1 bytes at 100",
    }],
    ["an empty extent past the end", encodeDiff([...HEAD, { tag: "z", offset: 101, length: 0 }]), {
      offset: HEAD_BYTES,
      says: "0 bytes at 101",
    }],
    ["a length near 2^64", encodeDiff([...HEAD, { tag: "z", offset: 1, length: HUGE }]), {
      offset: HEAD_BYTES + 9,
      says: `length of ${HUGE}`,
    }],
    ["a sum that wraps", encodeDiff([...HEAD, { tag: "z", offset: HUGE, length: 1 }]), {
      offset: HEAD_BYTES + 1,
      says: `offset of ${HUGE}`,
    }],
    [
      "a length of 2^53 - 1",
      encodeDiff([...HEAD, { tag: "z", offset: 1, length: Number.MAX_SAFE_INTEGER }]),
      { offset: HEAD_BYTES, says: "outside the volume" },
    ],
    ["bytes behind the end", bytes(encodeDiff([...HEAD, END]), "e"), {
      offset: HEAD_BYTES + 1,
      says: "more bytes after its end record",
    }],
  ];
  test.each(cases)("%s", (_, stream, expected) => {
    const error = streamErrorOf(stream);
    expect(error.message).toContain(expected.says);
    expect(error.message).toStartWith('Cannot read "test": ');
    expect(error.message).not.toContain("\n");
    expect(error.offset).toBe(expected.offset);
  });
});

const BEGINNINGS = [
  bytes("rbd diff v1\n"),
  encodeDiff(HEAD),
  bytes("rbd image v2\n"),
  bytes("rbd image v2\nE"),
];

describe("decodeRbdStream(), for any stream,", () => {
  test("hands out what the writer put in", () => {
    fc.assert(fc.property(validRecords, (records) => {
      expect(decodeAll(encodeDiff(records))).toEqual(expectedSteps(records) as never);
    }));
  });

  test("throws only StreamErrors when it is random bytes behind a banner", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...BEGINNINGS), (noise, start) => {
        try {
          decodeAll(bytes(start, noise));
        } catch (error) {
          if (!(error instanceof StreamError)) throw error;
        }
      }),
    );
  });
});
