/**
 * A run of entries: what a page says of its chunks, and a manifest of its pages. docs/format.md, "Entries".
 *
 * ```
 * offset size
 * 0      4    number of entries, little-endian
 * 4      …    one after the other: kind u8; for kind 1 and 2 the id (32); for kind 2 also the lease id (16)
 * ```
 * Kind 0 is all zeros, 1 an object, 2 an object whose key carries the suffix of a lease.
 */
import type { ObjectRef } from "./layout.ts";
import { ID_BYTES, LEASE_ID_BYTES } from "./limits.ts";

const ZERO = 0, OBJECT = 1, SUFFIXED = 2;
const REF_BYTES = ID_BYTES + LEASE_ID_BYTES;

/** `undefined` stands for zeros. */
export type Entry = ObjectRef | undefined;

export class EntryList {
  readonly length: number;
  #kinds: Uint8Array;
  #refs: Uint8Array;

  /** `length` entries, all of them zeros. */
  constructor(length: number) {
    this.length = length;
    this.#kinds = new Uint8Array(length);
    this.#refs = new Uint8Array(length * REF_BYTES);
  }

  get(index: number): Entry {
    const kind = this.#kinds[index];
    if (kind === ZERO) return undefined;
    const at = index * REF_BYTES;
    const id = this.#refs.slice(at, at + ID_BYTES);
    return { id, lease: kind === SUFFIXED ? this.#refs.slice(at + ID_BYTES, at + REF_BYTES) : undefined };
  }

  set(index: number, entry: Entry): void {
    if (index < 0 || index >= this.length) throw new RangeError(`entry ${index} of ${this.length}`);
    const at = index * REF_BYTES;
    this.#refs.fill(0, at, at + REF_BYTES);
    this.#kinds[index] = entry === undefined ? ZERO : entry.lease === undefined ? OBJECT : SUFFIXED;
    if (entry === undefined) return;
    this.#refs.set(entry.id, at);
    if (entry.lease !== undefined) this.#refs.set(entry.lease, at + ID_BYTES);
  }

  isZero(index: number): boolean {
    return this.#kinds[index] === ZERO;
  }

  /** Whether every entry is zeros. */
  get allZero(): boolean {
    return this.#kinds.every((kind) => kind === ZERO);
  }

  /** The same entries, cut or lengthened with zeros. */
  resized(length: number): EntryList {
    const list = new EntryList(length);
    const kept = Math.min(length, this.length);
    list.#kinds.set(this.#kinds.subarray(0, kept));
    list.#refs.set(this.#refs.subarray(0, kept * REF_BYTES));
    return list;
  }

  encode(): Uint8Array {
    const out = new Uint8Array(4 + this.length * (1 + REF_BYTES));
    new DataView(out.buffer).setUint32(0, this.length, true);
    let to = 4;
    for (let i = 0; i < this.length; i++) {
      const kind = this.#kinds[i]!;
      const size = payloadBytes(kind)!;
      out[to++] = kind;
      out.set(this.#refs.subarray(i * REF_BYTES, i * REF_BYTES + size), to);
      to += size;
    }
    return out.slice(0, to);
  }

  /** Throws `RangeError` when the bytes are not exactly a run of entries. */
  static decode(bytes: Uint8Array): EntryList {
    if (bytes.length < 4) throw new RangeError("the entries are cut short");
    const count = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    if (count > bytes.length - 4) throw new RangeError("the entries are cut short");
    const list = new EntryList(count);
    let from = 4;
    for (let i = 0; i < count; i++) {
      const kind = bytes[from++];
      const size = payloadBytes(kind);
      if (size === undefined) throw new RangeError(`entry ${i} is of the unknown kind ${kind}`);
      if (from + size > bytes.length) throw new RangeError("the entries are cut short");
      list.#kinds[i] = kind!;
      list.#refs.set(bytes.subarray(from, from + size), i * REF_BYTES);
      from += size;
    }
    if (from !== bytes.length) throw new RangeError("bytes follow the last entry");
    return list;
  }
}

function payloadBytes(kind: number | undefined): number | undefined {
  switch (kind) {
    case ZERO:
      return 0;
    case OBJECT:
      return ID_BYTES;
    case SUFFIXED:
      return REF_BYTES;
    default:
      return undefined;
  }
}
