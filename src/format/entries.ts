/**
 * A run of entries: what a page says of its chunks, and a manifest of its pages. docs/format.md, "Entries".
 *
 * ```
 * offset size
 * 0      4    number of entries, little-endian
 * 4      …    one after the other: kind u8, then
 *             kind 1: id (32)
 *             kind 2: id (32), lease (16)
 *             kind 3: id (32), the patch: id (32), lease (16), its base: id (32), lease (16)
 * ```
 * Kind 0 is all zeros, 1 an object, 2 an object whose key carries the suffix of a lease, 3 a block patch over a whole
 * chunk; a lease of zeros in it stands for no suffix.
 */
import { equalBytes, sameBytes } from "../util/bytes.ts";
import type { ObjectRef } from "./layout.ts";
import { ID_BYTES, LEASE_ID_BYTES } from "./limits.ts";

const ZERO = 0, OBJECT = 1, SUFFIXED = 2, PATCH = 3;
const REF_BYTES = ID_BYTES + LEASE_ID_BYTES;
const PATCH_BYTES = 2 * REF_BYTES;

/** Where a chunk or page is stored. */
export interface ChunkLocation {
  /** Names the plaintext. */
  id: Uint8Array;
  /** What holds it: an object of the same id, or a patch, which has an id of its own. */
  object: ObjectRef;
  /** The whole chunk that the patch is over. */
  base: ObjectRef | undefined;
}

/** `undefined` stands for zeros. */
export type Entry = ChunkLocation | undefined;

/** The place of what is stored whole. */
export function wholeAt(ref: ObjectRef): ChunkLocation {
  return { id: ref.id, object: ref, base: undefined };
}

/** Every object that is needed to read what is there. */
export function refsOf({ object, base }: ChunkLocation): ObjectRef[] {
  return base === undefined ? [object] : [object, base];
}

export function sameLocation(a: ChunkLocation, b: Entry): boolean {
  return b !== undefined && equalBytes(a.id, b.id) && sameRef(a.object, b.object) && sameRef(a.base, b.base);
}

function sameRef(a: ObjectRef | undefined, b: ObjectRef | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return sameBytes(a.lease, b.lease) && equalBytes(a.id, b.id);
}

export class EntryList {
  readonly length: number;
  readonly #kinds: Uint8Array;
  readonly #refs: Uint8Array;
  /** Patch and base of each entry, once there is a patch. */
  #patches: Uint8Array | undefined;

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
    if (kind === PATCH) {
      const patch = index * PATCH_BYTES;
      return { id, object: refAt(this.#patches!, patch), base: refAt(this.#patches!, patch + REF_BYTES) };
    }
    return wholeAt({
      id,
      lease: kind === SUFFIXED ? this.#refs.slice(at + ID_BYTES, at + REF_BYTES) : undefined,
    });
  }

  /** Every object that the entries refer to, without an array of its own for each id: gc walks over millions of them. */
  *refs(): Generator<ObjectRef> {
    for (let i = 0; i < this.length; i++) {
      const at = i * REF_BYTES;
      if (this.#kinds[i] === OBJECT) yield { id: this.#refs.subarray(at, at + ID_BYTES), lease: undefined };
      else if (this.#kinds[i] !== ZERO) yield* refsOf(this.get(i)!);
    }
  }

  /** The entries that are not zeros, each with its index. */
  *locations(): Generator<[number, ChunkLocation]> {
    for (let i = 0; i < this.length; i++) {
      const location = this.get(i);
      if (location !== undefined) yield [i, location];
    }
  }

  set(index: number, entry: Entry): void {
    if (index < 0 || index >= this.length) throw new RangeError(`entry ${index} of ${this.length}`);
    const at = index * REF_BYTES;
    this.#refs.fill(0, at, at + REF_BYTES);
    this.#kinds[index] = kindOf(entry);
    if (entry === undefined) return;
    this.#refs.set(entry.id, at);
    if (entry.base === undefined) {
      if (entry.object.lease !== undefined) this.#refs.set(entry.object.lease, at + ID_BYTES);
      return;
    }
    this.#patches ??= new Uint8Array(this.length * PATCH_BYTES);
    this.#patches.set(encodeRef(entry.object), index * PATCH_BYTES);
    this.#patches.set(encodeRef(entry.base), index * PATCH_BYTES + REF_BYTES);
  }

  isZero(index: number): boolean {
    return this.#kinds[index] === ZERO;
  }

  /** Whether every entry is zeros. */
  get allZero(): boolean {
    return this.#kinds.every((kind) => kind === ZERO);
  }

  /** The same entries in memory of their own. */
  copy(): EntryList {
    const list = new EntryList(this.length);
    list.#kinds.set(this.#kinds);
    list.#refs.set(this.#refs);
    list.#patches = this.#patches?.slice();
    return list;
  }

  encode(): Uint8Array {
    const sizes = this.#kinds.reduce((sum, kind) => sum + payloadBytes(kind)!, 0);
    const out = new Uint8Array(4 + this.length + sizes);
    new DataView(out.buffer).setUint32(0, this.length, true);
    let to = 4;
    const put = (bytes: Uint8Array) => {
      out.set(bytes, to);
      to += bytes.length;
    };
    for (let i = 0; i < this.length; i++) {
      const kind = this.#kinds[i]!;
      out[to++] = kind;
      put(this.#refs.subarray(i * REF_BYTES, i * REF_BYTES + ownBytes(kind)));
      if (kind === PATCH) put(this.#patches!.subarray(i * PATCH_BYTES, (i + 1) * PATCH_BYTES));
    }
    return out;
  }

  /** Throws `RangeError` when the bytes are not exactly a run of entries; of `length` of them, where that is known. */
  static decode(bytes: Uint8Array, length?: number): EntryList {
    if (bytes.length < 4) throw new RangeError("the entries are truncated");
    const count = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    if (count > bytes.length - 4) throw new RangeError("the entries are truncated");
    if (length !== undefined && count !== length) {
      throw new RangeError(`it has ${count} entries instead of ${length}`);
    }
    const list = new EntryList(count);
    let from = 4;
    for (let i = 0; i < count; i++) {
      const kind = bytes[from++];
      const size = payloadBytes(kind);
      if (size === undefined) throw new RangeError(`entry ${i} has the unknown kind ${kind}`);
      if (from + size > bytes.length) throw new RangeError("the entries are truncated");
      list.#decodeEntry(i, kind!, bytes.subarray(from, from + size));
      from += size;
    }
    if (from !== bytes.length) throw new RangeError("the last entry is followed by more bytes");
    return list;
  }

  #decodeEntry(index: number, kind: number, payload: Uint8Array): void {
    this.#kinds[index] = kind;
    this.#refs.set(payload.subarray(0, ownBytes(kind)), index * REF_BYTES);
    if (kind !== PATCH) return;
    this.#patches ??= new Uint8Array(this.length * PATCH_BYTES);
    this.#patches.set(payload.subarray(ID_BYTES), index * PATCH_BYTES);
  }
}

function kindOf(entry: Entry): number {
  if (entry === undefined) return ZERO;
  if (entry.base !== undefined) return PATCH;
  return entry.object.lease === undefined ? OBJECT : SUFFIXED;
}

/** Of the payload: what is about the chunk itself. */
function ownBytes(kind: number): number {
  return kind === ZERO ? 0 : kind === SUFFIXED ? REF_BYTES : ID_BYTES;
}

function payloadBytes(kind: number | undefined): number | undefined {
  switch (kind) {
    case ZERO:
    case OBJECT:
    case SUFFIXED:
      return ownBytes(kind);
    case PATCH:
      return ID_BYTES + PATCH_BYTES;
    default:
      return undefined;
  }
}

/** Id (32) ‖ lease (16), zeros for none. */
export function encodeRef({ id, lease }: ObjectRef): Uint8Array {
  const bytes = new Uint8Array(REF_BYTES);
  bytes.set(id);
  if (lease !== undefined) bytes.set(lease, ID_BYTES);
  return bytes;
}

/** The reference that `encodeRef` has written at `at`. */
export function refAt(bytes: Uint8Array, at: number): ObjectRef {
  const lease = bytes.slice(at + ID_BYTES, at + REF_BYTES);
  return { id: bytes.slice(at, at + ID_BYTES), lease: lease.some((byte) => byte !== 0) ? lease : undefined };
}
