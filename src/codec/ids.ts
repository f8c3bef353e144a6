/**
 * Ids name plaintext, and only the project's key can make them. A chunk's id is a two-level hash: the leaves are the
 * SHA-256 of leaf key ‖ block for each 4 KiB block, cut to 16 bytes; the id is HMAC-SHA-256(id key, length as le32 ‖ leaves).
 * So the id of a chunk of which a few blocks changed follows from the old leaves and the new blocks alone. docs/format.md, "Ids".
 */
import { equalBytes } from "../util/bytes.ts";
import type { Range } from "../util/ranges.ts";
import { encodeRef } from "../format/entries.ts";
import type { ObjectRef } from "../format/layout.ts";
import { BLOCK_BYTES, LEAF_BYTES, LEAF_KEY_BYTES, leavesBytes } from "../format/limits.ts";
import { BlockSet } from "../format/patch.ts";

const ZERO_BLOCK = new Uint8Array(BLOCK_BYTES);

/** Makes the leaves of one project key. A last block that is shorter than 4 KiB is hashed with zeros behind it. */
export class LeafHasher {
  /** The leaf key, and the block at work: hashed in one go, which is faster than in two, and nobody changes it meanwhile. */
  readonly #input = new Uint8Array(LEAF_KEY_BYTES + BLOCK_BYTES);
  readonly #digest = new Uint8Array(32);
  readonly #zeroLeaf: Uint8Array;

  constructor({ leafKey }: { leafKey: Uint8Array }) {
    this.#input.set(leafKey);
    this.#zeroLeaf = this.#hash(ZERO_BLOCK).slice();
  }

  /**
   * Writes the leaves of `chunk` to the front of `leaves` (16 bytes for each 4 KiB), but for the blocks that begin in one of
   * the ranges `known`, ascending: their leaves stay as they are.
   */
  write(chunk: Uint8Array, leaves: Uint8Array, known: readonly Range[] = []): void {
    let next = 0;
    for (let from = 0, to = 0; from < chunk.length; from += BLOCK_BYTES, to += LEAF_BYTES) {
      while (next < known.length && known[next]!.to <= from) next++;
      if (next < known.length && known[next]!.from <= from) continue;
      leaves.set(this.of(chunk.subarray(from, from + BLOCK_BYTES)), to);
    }
  }

  /** The leaf of one block; overwritten by the next call. */
  of(block: Uint8Array): Uint8Array {
    return isZero(block) ? this.#zeroLeaf : this.#hash(block);
  }

  /** Whether a chunk of `length` bytes that has these leaves is all zeros. */
  areZero(leaves: Uint8Array, length: number): boolean {
    for (let at = 0; at < leavesBytes(length); at += LEAF_BYTES) {
      if (!equalBytes(leaves.subarray(at, at + LEAF_BYTES), this.#zeroLeaf)) return false;
    }
    return true;
  }

  #hash(block: Uint8Array): Uint8Array {
    this.#input.set(block, LEAF_KEY_BYTES);
    if (block.length < BLOCK_BYTES) this.#input.fill(0, LEAF_KEY_BYTES + block.length);
    Bun.SHA256.hash(this.#input, this.#digest);
    return this.#digest.subarray(0, LEAF_BYTES);
  }
}

/** The blocks of a chunk of `length` bytes in which two lists of leaves differ. */
export function differentBlocks(a: Uint8Array, b: Uint8Array, length: number): BlockSet {
  const blocks = new BlockSet(length);
  for (let block = 0, at = 0; block < blocks.total; block++, at += LEAF_BYTES) {
    if (!equalBytes(a.subarray(at, at + LEAF_BYTES), b.subarray(at, at + LEAF_BYTES))) blocks.add(block);
  }
  return blocks;
}

/** The id of the chunk of `length` bytes that has these leaves. */
export function chunkId(idKey: Uint8Array, length: number, leaves: Uint8Array): Uint8Array {
  const prefix = new Uint8Array(4);
  new DataView(prefix.buffer).setUint32(0, length, true);
  const hmac = new Bun.CryptoHasher("sha256", Buffer.from(idKey));
  hmac.update(prefix);
  hmac.update(leaves.subarray(0, leavesBytes(length)) as Uint8Array<ArrayBuffer>);
  return new Uint8Array(hmac.digest());
}

/** The id of the patch that makes the chunk `id` of the whole chunk at `base`: HMAC-SHA-256(patch key, id ‖ base). */
export function patchId(patchKey: Uint8Array, id: Uint8Array, base: ObjectRef): Uint8Array {
  const hmac = new Bun.CryptoHasher("sha256", Buffer.from(patchKey));
  hmac.update(id as Uint8Array<ArrayBuffer>);
  hmac.update(encodeRef(base) as Uint8Array<ArrayBuffer>);
  return new Uint8Array(hmac.digest());
}

/** The id of a page: HMAC-SHA-256(page key, encoded entries). */
export function pageId(pageKey: Uint8Array, page: Uint8Array): Uint8Array {
  const hmac = new Bun.CryptoHasher("sha256", Buffer.from(pageKey));
  hmac.update(page as Uint8Array<ArrayBuffer>);
  return new Uint8Array(hmac.digest());
}

/** A look at the first bytes tells most blocks of data apart before all 4 KiB are compared. */
function isZero(block: Uint8Array): boolean {
  if (block[0] !== 0 || block[block.length - 1] !== 0) return false;
  return Buffer.compare(block, ZERO_BLOCK.subarray(0, block.length)) === 0;
}
