/** The front of a block patch, and the set of blocks in it. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BLOCK_BYTES } from "../../src/format/limits.ts";
import { BlockSet, decodePatchFront, encodePatchFront } from "../../src/format/patch.ts";
import { flippedBits } from "../kit/damage.ts";
import { noise } from "../kit/engine.ts";

const BASE = { id: noise(1, 32), lease: undefined };
const SUFFIXED = { id: noise(2, 32), lease: noise(3, 16) };

function setOf(length: number, blocks: readonly number[]): BlockSet {
  const set = new BlockSet(length);
  for (const block of blocks) set.add(block);
  return set;
}

const sets = fc.nat(70 * BLOCK_BYTES).chain((length) =>
  fc.record({
    length: fc.constant(length),
    blocks: fc.uniqueArray(fc.nat(Math.max(0, Math.ceil(length / BLOCK_BYTES) - 1)), {
      maxLength: Math.ceil(length / BLOCK_BYTES),
    }),
  })
);

describe("BlockSet", () => {
  test("has what was added, once, and gives their ranges in order up to the chunk's end", () => {
    fc.assert(fc.property(sets, ({ length, blocks }) => {
      const set = setOf(length, [...blocks, ...blocks]);
      const sorted = blocks.toSorted((a, b) => a - b);
      const bytes = new Uint8Array(length);
      for (const { from, to } of set.ranges()) bytes.fill(1, from, to);
      expect([...set.ranges()].map(({ block }) => block)).toEqual(sorted);
      expect([set.count, set.bytes]).toEqual([blocks.length, bytes.reduce((sum, byte) => sum + byte, 0)]);
      for (let block = 0; block < set.total; block++) {
        expect(set.has(block)).toBe(blocks.includes(block));
        expect(bytes[block * BLOCK_BYTES]).toBe(blocks.includes(block) ? 1 : 0);
      }
    }));
  });

  test("fits a patch below a quarter of the blocks: a short block counts as one", () => {
    const fits = (length: number, count: number) => {
      return setOf(length, Array.from({ length: count }, (_, i) => i)).fitsPatch;
    };
    expect([fits(1024 * BLOCK_BYTES, 255), fits(1024 * BLOCK_BYTES, 256)]).toEqual([true, false]);
    expect([fits(4 * BLOCK_BYTES, 1), fits(4 * BLOCK_BYTES + 1, 1)]).toEqual([false, true]);
    expect(fits(1, 1)).toBe(false);
  });
});

describe("encodePatchFront() and decodePatchFront()", () => {
  test("give back base, length and blocks", () => {
    fc.assert(fc.property(sets, fc.constantFrom(BASE, SUFFIXED), ({ length, blocks }, base) => {
      const front = decodePatchFront(encodePatchFront({ base, length, blocks: setOf(length, blocks) }));
      expect({ base: front.base, length: front.length }).toEqual({ base, length });
      expect([...front.blocks.ranges()]).toEqual([...setOf(length, blocks).ranges()]);
    }));
  });

  test("have the bytes of docs/format.md", () => {
    const front = encodePatchFront({
      base: SUFFIXED,
      length: 10 * BLOCK_BYTES,
      blocks: setOf(10 * BLOCK_BYTES, [0, 9]),
    });
    const [id, lease] = [SUFFIXED.id, SUFFIXED.lease].map((bytes) => Buffer.from(bytes).toString("hex"));
    expect(Buffer.from(front).toString("hex")).toBe(`${id}${lease}00a000000102`);
  });

  test("decode another front, or none, of one that is damaged, and none that is cut or longer", () => {
    const length = 10 * BLOCK_BYTES;
    const front = encodePatchFront({ base: SUFFIXED, length, blocks: setOf(length, [0, 9]) });
    const same = (bytes: Uint8Array) => {
      const { base, length, blocks } = decodePatchFront(bytes);
      return JSON.stringify([base, length, [...blocks.ranges()]]);
    };
    const flipped = [...flippedBits(front)];
    // The bits behind the last block say nothing.
    for (const bytes of flipped.slice(0, -6)) {
      try {
        expect(same(bytes)).not.toBe(same(front));
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }
    for (let cut = 0; cut < front.length; cut++) {
      expect(() => decodePatchFront(front.subarray(0, cut))).toThrow(RangeError);
    }
    expect(() => decodePatchFront(new Uint8Array([...front, 0]))).toThrow(RangeError);
  });
});
