/**
 * The leaves of whole chunks, without their content: out of the local cache, or by a ranged read of the front of the
 * object. They say which blocks of a chunk changed, and with the new ones they make the chunk's new id.
 */
import type { LeafCache } from "../cache/leaf_cache.ts";
import { chunkId } from "../codec/ids.ts";
import { frontEnd, SEAL_BYTES } from "../codec/seal.ts";
import { cannotRead, unlessDamaged } from "../errors.ts";
import { equalBytes } from "../util/bytes.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { leavesBytes } from "../format/limits.ts";
import { decodeHeader, HEADER_BYTES, OBJECT_TYPE } from "../format/object.ts";
import type { Project } from "../project/project.ts";
import { readTwice } from "../project/read_twice.ts";

interface LeafReaderOptions {
  project: Project;
  cache: LeafCache | undefined;
}

export class LeafReader {
  downloadedBytes = 0;
  readonly #project: Project;
  readonly #cache: LeafCache | undefined;
  readonly #signal: AbortSignal;

  constructor({ project, cache }: LeafReaderOptions, signal: AbortSignal) {
    this.#project = project;
    this.#cache = cache;
    this.#signal = signal;
  }

  /**
   * The leaves of the whole chunk at `ref`, which has `length` bytes; `position` is where the cache may have them. Throws
   * `DamageError` where the object is not that chunk, or of another length; `MissingError`.
   */
  async get(
    ref: ObjectRef,
    { length, position }: { length: number; position?: number },
  ): Promise<Uint8Array> {
    const cached = position === undefined ? undefined : await this.#cache?.get(position);
    const known = cached && await this.#open(ref, cached, length).catch(unlessDamaged);
    if (known !== undefined) return known;
    const key = this.#project.objectKey(chunkName(ref));
    const range = { offset: 0, length: frontBytes(this.#project.chunkBytes) };
    return await readTwice(async () => {
      const bytes = await this.#project.get(chunkName(ref), { range, signal: this.#signal });
      this.downloadedBytes += bytes.length;
      const leaves = await this.#open(ref, bytes, length);
      if (position !== undefined) await this.#cache?.put(position, frontOf(bytes));
      return leaves;
    }, { key });
  }

  async #open(ref: ObjectRef, bytes: Uint8Array, length: number): Promise<Uint8Array> {
    const object = { type: OBJECT_TYPE.chunk, name: chunkName(ref) };
    const key = this.#project.objectKey(object.name);
    const keys = await this.#project.keyOf(bytes, object);
    const leaves = await this.#project.front(bytes, object);
    const isIt = decodeHeader(bytes, { ...object, key }).plainBytes === length &&
      leaves.length === leavesBytes(length) && equalBytes(chunkId(keys.idKey, length, leaves), ref.id);
    if (isIt) return leaves;
    throw cannotRead(key, "its leaves do not match the chunk");
  }
}

/** What the leaf cache keeps of a whole chunk's object. */
export function frontOf(object: Uint8Array): Uint8Array {
  return object.subarray(0, frontEnd(decodeHeader(object, { type: OBJECT_TYPE.chunk, key: "" })));
}

/** Bytes of the longest front of a chunk's object, with the header. */
export function frontBytes(chunkBytes: number): number {
  return HEADER_BYTES + SEAL_BYTES + leavesBytes(chunkBytes);
}
