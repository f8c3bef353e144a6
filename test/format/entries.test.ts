/** Runs of entries: against a plain array, and every way to damage their bytes. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type ChunkLocation,
  type Entry,
  EntryList,
  refsOf,
  sameLocation,
  wholeAt,
} from "../../src/format/entries.ts";
import { flippedBits } from "../kit/damage.ts";

const id = fc.uint8Array({ minLength: 32, maxLength: 32 });
const lease = fc.option(
  fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((bytes) => bytes.some((byte) => byte !== 0)),
  { nil: undefined },
);
const ref = fc.record({ id, lease });
const patch = fc.record({ id, object: ref, base: ref });
const entry: fc.Arbitrary<Entry> = fc.option(fc.oneof(ref.map(wholeAt), patch), { nil: undefined });
const entries = fc.array(entry, { maxLength: 20 });

function listOf(entries: readonly Entry[]): EntryList {
  const list = new EntryList(entries.length);
  entries.forEach((entry, i) => list.set(i, entry));
  return list;
}

function arrayOf(list: EntryList): Entry[] {
  return Array.from({ length: list.length }, (_, i) => list.get(i));
}

const SMALL = listOf([
  undefined,
  wholeAt({ id: new Uint8Array(32).fill(1), lease: undefined }),
  wholeAt({ id: new Uint8Array(32).fill(2), lease: new Uint8Array(16).fill(3) }),
  {
    id: new Uint8Array(32).fill(4),
    object: { id: new Uint8Array(32).fill(5), lease: undefined },
    base: { id: new Uint8Array(32).fill(6), lease: new Uint8Array(16).fill(7) },
  },
]);

describe("EntryList", () => {
  test("decode() gives back what encode() was given", () => {
    fc.assert(fc.property(entries, (entries) => {
      expect(arrayOf(EntryList.decode(listOf(entries).encode()))).toEqual(entries);
    }));
  });

  test("encode() writes the bytes that the format says", () => {
    const bytes = Buffer.from(SMALL.encode()).toString("hex");
    const patch = "04".repeat(32) + "05".repeat(32) + "00".repeat(16) + "06".repeat(32) + "07".repeat(16);
    expect(bytes).toBe(
      "04000000" + "00" + "01" + "01".repeat(32) + "02" + "02".repeat(32) + "03".repeat(16) + "03" + patch,
    );
  });

  test("set() leaves nothing of what was there when it is called again", () => {
    fc.assert(fc.property(entry, entry, (first, second) => {
      const list = new EntryList(3);
      list.set(1, first);
      list.set(1, second);
      expect(arrayOf(list)).toEqual([undefined, second, undefined]);
      expect(list.encode()).toEqual(listOf([undefined, second, undefined]).encode());
      expect([list.isZero(1), list.allZero]).toEqual([second === undefined, second === undefined]);
    }));
  });

  test("set() throws when the index is outside", () => {
    for (const index of [-1, 3]) expect(() => new EntryList(3).set(index, undefined)).toThrow(RangeError);
  });

  test("copy() has the same entries, and leaves the list as it was when it changes", () => {
    fc.assert(fc.property(entries, entry, (entries, other) => {
      const list = listOf([...entries, undefined]);
      const copy = list.copy();
      copy.set(entries.length, other);
      expect(arrayOf(copy)).toEqual([...entries, other]);
      expect(arrayOf(list)).toEqual([...entries, undefined]);
    }));
  });

  test("decode() throws when the bytes are cut anywhere or go on", () => {
    const bytes = SMALL.encode();
    for (let end = 0; end < bytes.length; end++) {
      expect(() => EntryList.decode(bytes.subarray(0, end))).toThrow(RangeError);
    }
    expect(() => EntryList.decode(new Uint8Array([...bytes, 0]))).toThrow("followed by more bytes");
  });

  test("decode() takes the flip of any bit for other entries or for damage, and never fails otherwise", () => {
    for (const bytes of flippedBits(SMALL.encode())) {
      let list;
      try {
        list = EntryList.decode(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
        continue;
      }
      expect(list.encode()).toEqual(bytes);
    }
  });

  test("decode() takes no room for a count that its bytes cannot hold", () => {
    expect(() => EntryList.decode(new Uint8Array([255, 255, 255, 255, 0, 0]))).toThrow("truncated");
  });

  test("decode() throws RangeError, or gives what encodes to the same bytes, when they are any bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(4), (tail, count) => {
      const bytes = new Uint8Array([count, 0, 0, 0, ...tail]);
      try {
        expect(EntryList.decode(bytes).encode()).toEqual(bytes);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
    }));
  });
});

const places: ChunkLocation[] = [
  wholeAt({ id: new Uint8Array(32).fill(1), lease: undefined }),
  wholeAt({ id: new Uint8Array(32).fill(1), lease: new Uint8Array(16).fill(1) }),
  wholeAt({ id: new Uint8Array(32).fill(2), lease: undefined }),
  ...[undefined, new Uint8Array(16).fill(1)].map((lease) => ({
    id: new Uint8Array(32).fill(1),
    object: { id: new Uint8Array(32).fill(3), lease },
    base: { id: new Uint8Array(32).fill(2), lease: undefined },
  })),
];

test("sameLocation() tells all objects of two places apart", () => {
  for (const [i, a] of places.entries()) {
    for (const [j, b] of places.entries()) expect(sameLocation(a, structuredClone(b))).toBe(i === j);
    expect(sameLocation(a, undefined)).toBe(false);
  }
});

test("refsOf() names a patch and what it is over", () => {
  expect(refsOf(places[0]!)).toEqual([places[0]!.object]);
  expect(refsOf(places[3]!)).toEqual([places[3]!.object, places[3]!.base!]);
});
