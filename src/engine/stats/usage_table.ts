/**
 * Every object of a project with its size and who needs it, in flat arrays: 48 bytes an object and about 11 of index,
 * however many there are. Part of stats.
 */
import { toHex } from "../../util/bytes.ts";
import type { ObjectRef } from "../../format/layout.ts";
import { ID_BYTES } from "../../format/limits.ts";

const ID_WORDS = ID_BYTES / 4;
/** Of a record, in words: the id, the suffix's number, the size, who needs it. */
const SUFFIX = ID_WORDS, SIZE = ID_WORDS + 1, POINT = ID_WORDS + 2, VOLUME = ID_WORDS + 3;
const RECORD_WORDS = ID_WORDS + 4;
/** Records in one piece of memory: the table grows by such pieces, and copies none. */
const PIECE_RECORDS = 65_536;
const FIRST_SLOTS = 1024;
/** Above this share of full slots the index grows. */
const MAX_LOAD = 0.75;

/** More than one point. */
export const MANY = 0xffff_ffff;
/** Set beside a volume's number: there are others. */
const SHARED = 0x8000_0000;

export class UsageTable {
  readonly #pieces: Uint32Array[] = [];
  /** Record numbers + 1; open addressing with linear probing. Ids are keyed hashes, so their own bytes spread them. */
  #index = new Uint32Array(FIRST_SLOTS);
  #size = 0;
  /** Suffixes are few: one for each backup or copy that met a gc plan. 0 stands for none. */
  readonly #suffixes = new Map<string, number>();
  readonly #leases: Uint8Array[] = [];

  get size(): number {
    return this.#size;
  }

  /** Adds an object that is not in the table. */
  add(ref: ObjectRef, sizeBytes: number): void {
    if (this.#size + 1 > this.#index.length * MAX_LOAD) this.#grow();
    const number = this.#size++;
    if (number % PIECE_RECORDS === 0) this.#pieces.push(new Uint32Array(PIECE_RECORDS * RECORD_WORDS));
    const piece = this.#piece(number);
    const at = offsetOf(number);
    piece.set(wordsOf(ref.id), at);
    piece[at + SUFFIX] = this.#numberSuffix(ref.lease);
    piece[at + SIZE] = sizeBytes;
    this.#index[this.#emptySlot(piece[at]!)] = number + 1;
  }

  /** The object's number; `undefined` where the table does not have it. */
  find(ref: ObjectRef): number | undefined {
    const suffix = ref.lease === undefined ? 0 : this.#suffixes.get(toHex(ref.lease));
    if (suffix === undefined) return undefined;
    const words = wordsOf(ref.id);
    const mask = this.#index.length - 1;
    for (let slot = words[0]! & mask;; slot = (slot + 1) & mask) {
      const entry = this.#index[slot]!;
      if (entry === 0) return undefined;
      if (this.#is(entry - 1, words, suffix)) return entry - 1;
    }
  }

  refOf(number: number): ObjectRef {
    const at = offsetOf(number);
    const id = new Uint8Array(this.#piece(number).slice(at, at + ID_WORDS).buffer);
    return { id, lease: this.#leases[this.#get(number, SUFFIX) - 1] };
  }

  sizeOf(number: number): number {
    return this.#get(number, SIZE);
  }

  /** Who needs it: 0 nobody, a point's number + 1, or `MANY`. */
  pointsOf(number: number): number {
    return this.#get(number, POINT);
  }

  /** `points` as `pointsOf` gives it: these need it, too. */
  addPoints(number: number, points: number): void {
    const known = this.#get(number, POINT);
    if (known !== points) this.#set(number, POINT, known === 0 ? points : MANY);
  }

  /** The number of the only volume that needs it; `undefined` where there is none, or more. */
  onlyVolumeOf(number: number): number | undefined {
    const mark = this.#get(number, VOLUME);
    return mark === 0 || mark >= SHARED ? undefined : mark - 1;
  }

  /** Volumes have to come one after the other. False where the volume was said to need it before. */
  addVolume(number: number, volume: number): boolean {
    const known = this.#get(number, VOLUME);
    if ((known & ~SHARED) === volume + 1) return false;
    this.#set(number, VOLUME, known === 0 ? volume + 1 : SHARED + volume + 1);
    return true;
  }

  #get(number: number, field: number): number {
    return this.#piece(number)[offsetOf(number) + field]!;
  }

  #set(number: number, field: number, value: number): void {
    this.#piece(number)[offsetOf(number) + field] = value;
  }

  #piece(number: number): Uint32Array {
    return this.#pieces[Math.floor(number / PIECE_RECORDS)]!;
  }

  #is(number: number, words: Uint32Array, suffix: number): boolean {
    const piece = this.#piece(number);
    const at = offsetOf(number);
    for (let i = 0; i < ID_WORDS; i++) if (piece[at + i] !== words[i]) return false;
    return piece[at + SUFFIX] === suffix;
  }

  #numberSuffix(lease: Uint8Array | undefined): number {
    if (lease === undefined) return 0;
    const name = toHex(lease);
    const known = this.#suffixes.get(name);
    if (known !== undefined) return known;
    this.#leases.push(lease);
    this.#suffixes.set(name, this.#leases.length);
    return this.#leases.length;
  }

  #emptySlot(hash: number): number {
    const mask = this.#index.length - 1;
    let slot = hash & mask;
    while (this.#index[slot] !== 0) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    this.#index = new Uint32Array(this.#index.length * 2);
    for (let number = 0; number < this.#size; number++) {
      this.#index[this.#emptySlot(this.#get(number, 0))] = number + 1;
    }
  }
}

function offsetOf(number: number): number {
  return (number % PIECE_RECORDS) * RECORD_WORDS;
}

const scratch = new Uint32Array(ID_WORDS);
const scratchBytes = new Uint8Array(scratch.buffer);

/** Overwritten by the next call. */
function wordsOf(id: Uint8Array): Uint32Array {
  scratchBytes.set(id);
  return scratch;
}
