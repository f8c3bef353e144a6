/** Millions of made-up chunk ids in 8 bytes each: sorted random numbers, from which the ids follow. */
import { ID_BYTES } from "../../src/format/limits.ts";

const WORDS = ID_BYTES / 4;

export class SyntheticIds {
  readonly count: number;
  /** Two words an id, the low one first; ascending. */
  readonly #words: Uint32Array;

  constructor(count: number) {
    this.count = count;
    const numbers = new BigUint64Array(count);
    this.#words = new Uint32Array(numbers.buffer);
    for (let i = 0; i < this.#words.length; i++) this.#words[i] = mix(i + 1);
    numbers.sort();
  }

  /** The id at `index` of the sorted ones. */
  id(index: number): Uint8Array {
    const id = new Uint8Array(ID_BYTES);
    const view = new DataView(id.buffer);
    const low = this.#words[2 * index]!;
    view.setUint32(0, this.#words[2 * index + 1]!);
    view.setUint32(4, low);
    for (let word = 2; word < WORDS; word++) view.setUint32(4 * word, mix(low + word * 0x9e3779b9));
    return id;
  }

  /** The first index whose id begins with that byte or a greater one. */
  firstOf(byte: number): number {
    return this.#search((index) => this.#words[2 * index + 1]! >>> 24 >= byte);
  }

  /** Where the id is. It must be one of these. */
  indexOf(id: Uint8Array): number {
    const view = new DataView(id.buffer, id.byteOffset);
    const [high, low] = [view.getUint32(0), view.getUint32(4)];
    return this.#search((index) => {
      const there = this.#words[2 * index + 1]!;
      return there > high || (there === high && this.#words[2 * index]! >= low);
    });
  }

  /** The first index of which `isThere` is true; it must stay true from there on. */
  #search(isThere: (index: number) => boolean): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isThere(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** The finalizer of MurmurHash3: spreads counting numbers over all 32 bits. */
function mix(value: number): number {
  let mixed = value >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
