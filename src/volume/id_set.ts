/**
 * A set of ids, each with a mark, in flat arrays: 32 bytes an id, whatever their number; millions of JavaScript objects would take ten
 * times that. Open addressing with linear probing; ids are keyed hashes, so their own bytes spread them.
 */
import { ID_BYTES } from "../format/limits.ts";

const WORDS = ID_BYTES / 4;
const FIRST_SLOTS = 1024;
/** Above this share of full slots the table grows. */
const MAX_LOAD = 0.75;

export class IdSet {
  #slots = FIRST_SLOTS;
  #words = new Uint32Array(FIRST_SLOTS * WORDS);
  #marks = new Uint32Array(FIRST_SLOTS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds the id; false where it was there. An id of zeros does not exist. */
  add(id: Uint8Array): boolean {
    if (this.#size + 1 > this.#slots * MAX_LOAD) this.#grow();
    const words = wordsOf(id);
    const at = find(this.#words, this.#slots, words);
    if (this.#words[at + 1] !== 0 || this.#words[at] !== 0) return false;
    this.#words.set(words, at);
    this.#size++;
    return true;
  }

  has(id: Uint8Array): boolean {
    const at = find(this.#words, this.#slots, wordsOf(id));
    return this.#words[at + 1] !== 0 || this.#words[at] !== 0;
  }

  /** Gives the id a mark other than 0, if it is in the set; whether it is. */
  mark(id: Uint8Array, mark = 1): boolean {
    const at = find(this.#words, this.#slots, wordsOf(id));
    if (this.#words[at + 1] === 0 && this.#words[at] === 0) return false;
    this.#marks[at / WORDS] = mark;
    return true;
  }

  /** The id's mark; 0 where it has none or is not in the set. */
  markOf(id: Uint8Array): number {
    return this.#marks[find(this.#words, this.#slots, wordsOf(id)) / WORDS]!;
  }

  /** The ids with a mark or without. The set must not change meanwhile. */
  *ids(marked: boolean): Generator<Uint8Array> {
    const bytes = new Uint8Array(this.#words.buffer);
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = slot * WORDS;
      if (this.#words[at] === 0 && this.#words[at + 1] === 0) continue;
      if ((this.#marks[slot] !== 0) === marked) yield bytes.slice(slot * ID_BYTES, (slot + 1) * ID_BYTES);
    }
  }

  /** Drops every id that `keep` does not want, by the id's first byte. */
  retain(keep: (firstByte: number) => boolean): void {
    this.#rebuild(this.#slots, keep);
  }

  /** Empties the set and gives its memory back at once: the runtime may let a table lie about until it needs room. */
  [Symbol.dispose](): void {
    this.#rebuild(FIRST_SLOTS, () => false);
  }

  #grow(): void {
    this.#rebuild(this.#slots * 2, () => true);
  }

  #rebuild(slots: number, keep: (firstByte: number) => boolean): void {
    const [oldWords, oldMarks, oldSlots] = [this.#words, this.#marks, this.#slots];
    const bytes = new Uint8Array(oldWords.buffer);
    this.#slots = slots;
    this.#words = new Uint32Array(slots * WORDS);
    this.#marks = new Uint32Array(slots);
    this.#size = 0;
    for (let slot = 0; slot < oldSlots; slot++) {
      const from = slot * WORDS;
      if ((oldWords[from] === 0 && oldWords[from + 1] === 0) || !keep(bytes[from * 4]!)) continue;
      for (let i = 0; i < WORDS; i++) scratch[i] = oldWords[from + i]!;
      const at = find(this.#words, slots, scratch);
      this.#words.set(scratch, at);
      this.#marks[at / WORDS] = oldMarks[slot]!;
      this.#size++;
    }
    oldWords.buffer.transfer(0);
  }
}

const scratch = new Uint32Array(WORDS);
const scratchBytes = new Uint8Array(scratch.buffer);

/** Overwritten by the next call. */
function wordsOf(id: Uint8Array): Uint32Array {
  scratchBytes.set(id);
  return scratch;
}

/** Where the id is, or the empty slot where it would be. */
function find(table: Uint32Array, slots: number, words: Uint32Array): number {
  let slot = words[2]! & (slots - 1);
  for (;;) {
    const at = slot * WORDS;
    if (table[at] === 0 && table[at + 1] === 0) return at;
    let same = true;
    for (let i = 0; i < WORDS && same; i++) same = table[at + i] === words[i];
    if (same) return at;
    slot = (slot + 1) & (slots - 1);
  }
}
