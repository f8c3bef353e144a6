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
  #marks = new Uint8Array(FIRST_SLOTS);
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

  /** Marks the id if it is in the set; whether it is. */
  mark(id: Uint8Array): boolean {
    const at = find(this.#words, this.#slots, wordsOf(id));
    if (this.#words[at + 1] === 0 && this.#words[at] === 0) return false;
    this.#marks[at / WORDS] = 1;
    return true;
  }

  /** The ids with that mark or without. The set must not change meanwhile. */
  *ids(marked: boolean): Generator<Uint8Array> {
    const bytes = new Uint8Array(this.#words.buffer);
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = slot * WORDS;
      if (this.#words[at] === 0 && this.#words[at + 1] === 0) continue;
      if ((this.#marks[slot] === 1) === marked) yield bytes.slice(slot * ID_BYTES, (slot + 1) * ID_BYTES);
    }
  }

  /** Drops every mark, and every id that `keep` does not want, by the id's first byte. */
  retain(keep: (firstByte: number) => boolean): void {
    const old = this.#words;
    this.#words = new Uint32Array(old.length);
    this.#marks.fill(0);
    this.#size = 0;
    const bytes = new Uint8Array(old.buffer);
    for (let at = 0; at < old.length; at += WORDS) {
      if ((old[at] !== 0 || old[at + 1] !== 0) && keep(bytes[at * 4]!)) {
        this.#insert(old.subarray(at, at + WORDS));
      }
    }
  }

  /** Marks are set only once all ids are in: there are none to keep. */
  #grow(): void {
    const old = this.#words;
    this.#slots *= 2;
    this.#words = new Uint32Array(this.#slots * WORDS);
    this.#marks = new Uint8Array(this.#slots);
    this.#size = 0;
    for (let at = 0; at < old.length; at += WORDS) {
      if (old[at] !== 0 || old[at + 1] !== 0) this.#insert(old.subarray(at, at + WORDS));
    }
  }

  #insert(words: Uint32Array): void {
    this.#words.set(words, find(this.#words, this.#slots, words));
    this.#size++;
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
