/**
 * The infos of a project's manifests, as the store has them, so that `list` reads only those that are new. Manifests never
 * change, and what comes out of the cache is opened with the project's key like anything downloaded.
 *
 * One record after the other: length of the name u16, length of the bytes u32, the name, the beginning of the object.
 */
import { fromUtf8, utf8 } from "../util/bytes.ts";
import { MIB } from "../format/limits.ts";
import { readOwn, replaceOwn } from "../os/own_files.ts";
import type { OwnPath } from "../os/own_path.ts";

/** Infos kept, mostly about 1 KiB each; what is beyond that is read again. */
const MAX_INFOS = 50_000;
const MAX_BYTES = 64 * MIB;
const HEAD_BYTES = 6;

export class InfoCache {
  readonly #place: OwnPath | undefined;
  #known: Map<string, Uint8Array>;
  #changed = false;
  #sizeBytes: number;

  private constructor(place: OwnPath | undefined, known: Map<string, Uint8Array>) {
    this.#place = place;
    this.#known = known;
    this.#sizeBytes = known.values().reduce((sum, { length }) => sum + length, 0);
  }

  /** Never fails: without a place or a readable file it begins empty. */
  static async open(place: OwnPath | undefined): Promise<InfoCache> {
    const bytes = place === undefined ? undefined : await readOwn(place).catch(() => undefined);
    return new InfoCache(place, bytes === undefined ? new Map() : decode(bytes));
  }

  /** The beginning of the manifest of that name. */
  get(name: string): Uint8Array | undefined {
    return this.#known.get(name);
  }

  put(name: string, bytes: Uint8Array): void {
    if (this.#known.size >= MAX_INFOS || this.#sizeBytes + bytes.length > MAX_BYTES) return;
    this.#known.set(name, bytes);
    this.#sizeBytes += bytes.length;
    this.#changed = true;
  }

  /** Forgets what is not there any more. */
  keepOnly(names: ReadonlySet<string>): void {
    const before = this.#known.size;
    this.#known = new Map([...this.#known].filter(([name]) => names.has(name)));
    this.#changed ||= this.#known.size < before;
  }

  /** Writes what changed; a cache that cannot be written is no reason to fail. */
  async save(): Promise<void> {
    if (this.#place === undefined || !this.#changed) return;
    const bytes = encode(this.#known);
    await replaceOwn(this.#place, (file) => file.write(bytes, 0)).catch(() => {});
  }
}

function encode(known: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [name, bytes] of known) {
    const key = utf8(name);
    const head = new Uint8Array(HEAD_BYTES);
    new DataView(head.buffer).setUint16(0, key.length, true);
    new DataView(head.buffer).setUint32(2, bytes.length, true);
    parts.push(head, key, bytes);
  }
  return Buffer.concat(parts);
}

/** The records up to the first that cannot be one. */
function decode(bytes: Uint8Array): Map<string, Uint8Array> {
  const known = new Map<string, Uint8Array>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEAD_BYTES <= bytes.length;) {
    const keyEnd = at + HEAD_BYTES + view.getUint16(at, true);
    const end = keyEnd + view.getUint32(at + 2, true);
    const name = end <= bytes.length ? fromUtf8(bytes.subarray(at + HEAD_BYTES, keyEnd)) : undefined;
    if (name === undefined) break;
    known.set(name, bytes.slice(keyEnd, end));
    at = end;
  }
  return known;
}
