/** Runs of entries: against a plain array, and every way to damage their bytes. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Entry, EntryList } from "../../src/format/entries.ts";
import { flippedBits } from "../helpers/damage.ts";

const id = fc.uint8Array({ minLength: 32, maxLength: 32 });
const lease = fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 }), { nil: undefined });
const entry: fc.Arbitrary<Entry> = fc.option(fc.record({ id, lease }), { nil: undefined });
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
  { id: new Uint8Array(32).fill(1), lease: undefined },
  { id: new Uint8Array(32).fill(2), lease: new Uint8Array(16).fill(3) },
]);

describe("EntryList", () => {
  test("decode() gives back what encode() was given", () => {
    fc.assert(fc.property(entries, (entries) => {
      expect(arrayOf(EntryList.decode(listOf(entries).encode()))).toEqual(entries);
    }));
  });

  test("encode() writes the bytes that the format says", () => {
    const bytes = Buffer.from(SMALL.encode()).toString("hex");
    expect(bytes).toBe("03000000" + "00" + "01" + "01".repeat(32) + "02" + "02".repeat(32) + "03".repeat(16));
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

  test("resized() cuts, or lengthens with zeros, and leaves the list as it was", () => {
    fc.assert(fc.property(entries, fc.nat(30), (entries, length) => {
      const list = listOf(entries);
      const expected = Array.from({ length }, (_, i) => entries[i]);
      expect(arrayOf(list.resized(length))).toEqual(expected);
      expect(arrayOf(list)).toEqual(entries);
    }));
  });

  test("decode() throws when the bytes are cut anywhere or go on", () => {
    const bytes = SMALL.encode();
    for (let end = 0; end < bytes.length; end++) {
      expect(() => EntryList.decode(bytes.subarray(0, end))).toThrow(RangeError);
    }
    expect(() => EntryList.decode(new Uint8Array([...bytes, 0]))).toThrow("bytes follow");
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
    expect(() => EntryList.decode(new Uint8Array([255, 255, 255, 255, 0, 0]))).toThrow("cut short");
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
