/** Damages bytes, in every way of a kind or one. */
import type { Store } from "../../src/store/store.ts";

/** Copies of `bytes`, each with another bit turned over. */
export function* flippedBits(bytes: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < bytes.length * 8; bit++) yield flipBit(bytes, bit);
}

/** A copy with one bit turned over. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy[bit >>> 3]! ^= 1 << (bit & 7);
  return copy;
}

/** Turns over a bit of a stored object: of the byte that `at` makes of its length. */
export async function flipStored(store: Store, key: string, at: (length: number) => number): Promise<void> {
  const bytes = await store.get(key);
  await store.put(key, flipBit(bytes, 8 * at(bytes.length)));
}
