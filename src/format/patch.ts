/**
 * The front section of a block patch: which chunk it is over, and which blocks it has. Its content are these blocks, one
 * after the other. docs/format.md, "Block patches".
 *
 * ```
 * offset size field
 * 0      32   id of the base, a whole chunk
 * 32     16   lease of the base's key, zeros for none
 * 48     4    bytes of the chunk, and of its base
 * 52     …    a bit for each block of 4 KiB, the lowest of a byte first: the patch has it
 * ```
 */
import { encodeRef, refAt } from "./entries.ts";
import type { ObjectRef } from "./layout.ts";
import { BLOCK_BYTES, ID_BYTES, LEASE_ID_BYTES } from "./limits.ts";

const LENGTH_AT = ID_BYTES + LEASE_ID_BYTES;
const BITMAP_AT = LENGTH_AT + 4;
/** A patch has less than this share of the chunk's blocks: beyond it, the chunk is stored whole again. */
export const MAX_PATCH_SHARE = 1 / 4;

interface PatchFront {
  base: ObjectRef;
  /** Bytes of the chunk. */
  length: number;
  blocks: BlockSet;
}

/** Some of a chunk's blocks. */
export class BlockSet {
  /** Blocks that the chunk has. */
  readonly total: number;
  readonly #bits: Uint8Array;
  /** How many are in the set. */
  count = 0;

  /** Of a chunk of `length` bytes; empty. */
  constructor(readonly length: number) {
    this.total = Math.ceil(length / BLOCK_BYTES);
    this.#bits = new Uint8Array(Math.ceil(this.total / 8));
  }

  static decode(length: number, bits: Uint8Array): BlockSet {
    const set = new BlockSet(length);
    for (let block = 0; block < set.total; block++) {
      if (bits[block >> 3]! & (1 << (block & 7))) set.add(block);
    }
    return set;
  }

  get bits(): Uint8Array {
    return this.#bits;
  }

  add(block: number): void {
    if (!this.has(block)) this.count++;
    this.#bits[block >> 3]! |= 1 << (block & 7);
  }

  has(block: number): boolean {
    return (this.#bits[block >> 3]! & (1 << (block & 7))) !== 0;
  }

  /** First and one past the last byte of each block in the set, ascending; the chunk's last block may be shorter. */
  *ranges(): Generator<{ block: number; from: number; to: number }> {
    for (let block = 0; block < this.total; block++) {
      const from = block * BLOCK_BYTES;
      if (this.has(block)) yield { block, from, to: Math.min(from + BLOCK_BYTES, this.length) };
    }
  }

  /** Bytes of all blocks in the set. */
  get bytes(): number {
    const short = this.total * BLOCK_BYTES - this.length;
    return this.count * BLOCK_BYTES - (this.total > 0 && this.has(this.total - 1) ? short : 0);
  }

  /** Whether they are few enough for a patch. */
  get fitsPatch(): boolean {
    return this.count < this.total * MAX_PATCH_SHARE;
  }
}

/** Bytes of the front of a patch for a chunk of `length` bytes. */
export function patchFrontBytes(length: number): number {
  return BITMAP_AT + Math.ceil(Math.ceil(length / BLOCK_BYTES) / 8);
}

export function encodePatchFront({ base, length, blocks }: PatchFront): Uint8Array {
  const out = new Uint8Array(BITMAP_AT + blocks.bits.length);
  out.set(encodeRef(base));
  new DataView(out.buffer).setUint32(LENGTH_AT, length, true);
  out.set(blocks.bits, BITMAP_AT);
  return out;
}

/** Throws `RangeError` where the bytes are not such a front. */
export function decodePatchFront(bytes: Uint8Array): PatchFront {
  if (bytes.length < BITMAP_AT) throw new RangeError("the front of the patch is truncated");
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(LENGTH_AT, true);
  if (bytes.length !== patchFrontBytes(length)) {
    throw new RangeError("the front of the patch has a wrong length");
  }
  return { base: refAt(bytes, 0), length, blocks: BlockSet.decode(length, bytes.subarray(BITMAP_AT)) };
}
