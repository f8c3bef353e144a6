/** Ids against another implementation of SHA-256 and HMAC, over plain and shared memory. */
import { describe, expect, test } from "bun:test";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import fc from "fast-check";
import { chunkId, differentBlocks, LeafHasher, pageId } from "../../src/codec/ids.ts";
import { toHex } from "../../src/util/bytes.ts";
import { BLOCK_BYTES, LEAF_BYTES, leavesBytes } from "../../src/format/limits.ts";
import { le32 } from "../kit/rbd_stream.ts";

const KEY = new Uint8Array(32).fill(7);
const LEAF_KEY = new Uint8Array(64).map((_, i) => 3 * i + 1);
const hasher = new LeafHasher({ leafKey: LEAF_KEY });

/** A chunk of blocks that are zeros or not, with odd lengths. */
const chunk = fc.record({
  blocks: fc.array(fc.nat(3), { maxLength: 6 }),
  tail: fc.nat(BLOCK_BYTES - 1),
  at: fc.nat(),
})
  .map(({ blocks, tail, at }) => {
    const bytes = new Uint8Array(blocks.length * BLOCK_BYTES + tail);
    blocks.forEach((value, block) => bytes[block * BLOCK_BYTES + at % BLOCK_BYTES] = value);
    return bytes;
  });

/** The leaves as docs/format.md says, by the other implementation. */
function leavesOf(bytes: Uint8Array): Uint8Array {
  const leaves: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = new Uint8Array(BLOCK_BYTES);
    block.set(bytes.subarray(at, at + BLOCK_BYTES));
    leaves.push(sha256(new Uint8Array([...LEAF_KEY, ...block])).subarray(0, LEAF_BYTES));
  }
  return new Uint8Array(Buffer.concat(leaves));
}

function shared(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

describe("LeafHasher", () => {
  test("writes what the other SHA-256 gives, and tells zeros, over plain and shared memory", () => {
    fc.assert(fc.property(chunk, fc.boolean(), (bytes, isShared) => {
      const leaves = new Uint8Array(leavesBytes(bytes.length) + 1).fill(0xee);
      hasher.write(isShared ? shared(bytes) : bytes, leaves);
      expect(leaves).toEqual(new Uint8Array([...leavesOf(bytes), 0xee]));
      expect(hasher.areZero(leaves, bytes.length)).toBe(bytes.every((byte) => byte === 0));
    }));
  });

  test("sees every single byte of a block that is not zero", () => {
    const leaves = new Uint8Array(LEAF_BYTES);
    const block = new Uint8Array(BLOCK_BYTES);
    for (let at = 0; at < BLOCK_BYTES; at++) {
      block[at] = 1;
      hasher.write(block, leaves);
      expect(hasher.areZero(leaves, BLOCK_BYTES)).toBe(false);
      block[at] = 0;
    }
    hasher.write(block, leaves);
    expect(hasher.areZero(leaves, BLOCK_BYTES)).toBe(true);
  });

  test("makes other leaves of the same block under another key, also of zeros", () => {
    const other = new LeafHasher({ leafKey: LEAF_KEY.map((byte, i) => i === 63 ? byte ^ 1 : byte) });
    for (
      const block of [
        new Uint8Array(BLOCK_BYTES),
        new Uint8Array(BLOCK_BYTES).fill(5),
        new Uint8Array(9).fill(5),
      ]
    ) {
      expect(toHex(other.of(block).slice())).not.toBe(toHex(hasher.of(block).slice()));
    }
    const leaves = new Uint8Array(LEAF_BYTES);
    hasher.write(new Uint8Array(BLOCK_BYTES), leaves);
    expect(other.areZero(leaves, BLOCK_BYTES)).toBe(false);
  });

  test("hashes a shorter last block with zeros behind it, whatever was hashed before", () => {
    const short = new Uint8Array(100).fill(1);
    const filled = new Uint8Array(BLOCK_BYTES);
    filled.set(short);
    const wanted = hasher.of(filled).slice();
    hasher.of(new Uint8Array(BLOCK_BYTES).fill(9));
    expect(hasher.of(short)).toEqual(wanted);
  });
});

describe("chunkId()", () => {
  test("is what the other HMAC gives over length and leaves, over plain and shared memory", () => {
    fc.assert(fc.property(chunk, fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes, key) => {
      const leaves = leavesOf(bytes);
      const expected = toHex(hmac(sha256, key, Buffer.concat([le32(bytes.length), leaves])));
      expect(toHex(chunkId(key, bytes.length, leaves))).toBe(expected);
      // The room behind the leaves of a short chunk is no part of its id.
      expect(toHex(chunkId(key, bytes.length, shared(new Uint8Array([...leaves, 1]))))).toBe(expected);
    }));
  });

  test("tells a chunk from the same one with zeros behind it, and one project from another", () => {
    const leaves = leavesOf(new Uint8Array(BLOCK_BYTES));
    const ids = [
      chunkId(KEY, 4095, leaves),
      chunkId(KEY, 4096, leaves),
      chunkId(new Uint8Array(32), 4096, leaves),
    ];
    expect(new Set(ids.map(toHex)).size).toBe(3);
  });
});

describe("pageId()", () => {
  test("is what the other HMAC gives", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (page) => {
      expect(toHex(pageId(KEY, page))).toBe(toHex(hmac(sha256, KEY, page)));
    }));
  });

  test("leaves the blocks of known ranges as they are, and does not look at their bytes", () => {
    fc.assert(fc.property(chunk, fc.nat(8), fc.nat(8), (bytes, a, b) => {
      const known = { from: Math.min(a, b) * BLOCK_BYTES, to: Math.max(a, b) * BLOCK_BYTES };
      const leaves = new Uint8Array(leavesBytes(bytes.length)).fill(0xee);
      hasher.write(bytes, leaves, known.from < known.to ? [known] : []);
      const wanted = leavesOf(bytes);
      for (let block = 0; block * LEAF_BYTES < leaves.length; block++) {
        const isKnown = block * BLOCK_BYTES >= known.from && block * BLOCK_BYTES < known.to;
        const range = [block * LEAF_BYTES, (block + 1) * LEAF_BYTES] as const;
        expect(leaves.slice(...range)).toEqual(
          isKnown ? new Uint8Array(LEAF_BYTES).fill(0xee) : wanted.slice(...range),
        );
      }
    }));
  });
});

test("differentBlocks() finds each block in which two chunks differ, and no other", () => {
  fc.assert(fc.property(chunk, fc.array(fc.nat()), (bytes, changes) => {
    const changed = bytes.slice();
    const wanted = new Set<number>();
    for (const at of changes.map((at) => at % Math.max(1, bytes.length))) {
      if (at >= bytes.length) continue;
      changed[at]! ^= 1;
    }
    bytes.forEach((byte, at) => byte !== changed[at] && wanted.add(Math.floor(at / BLOCK_BYTES)));
    const blocks = differentBlocks(leavesOf(bytes), leavesOf(changed), bytes.length);
    expect(new Set([...blocks.ranges()].map(({ block }) => block))).toEqual(wanted);
    expect(blocks.count).toBe(wanted.size);
  }));
});
