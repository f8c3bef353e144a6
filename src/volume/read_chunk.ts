/**
 * Reading chunks: download, open, verify. A chunk is one object, or a block patch over a whole chunk: then the whole one
 * is opened first and the patch applied to it.
 */
import type { ChunkCache } from "../cache/chunk_cache.ts";
import { cannotRead, DamageError, MissingError, unlessDamaged } from "../errors.ts";
import { equalBytes, toHex } from "../util/bytes.ts";
import type { Range } from "../util/ranges.ts";
import type { ChunkLocation } from "../format/entries.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { leavesBytes } from "../format/limits.ts";
import { OBJECT_TYPE, objectType } from "../format/object.ts";
import { decodePatchFront } from "../format/patch.ts";
import type { SharedBuffer } from "./pool/buffers.ts";
import type { SealedObject } from "./pool/chunk_pool.ts";
import type { Project } from "../project/project.ts";
import { readTwice } from "../project/read_twice.ts";
import { LeafReader } from "./leaves.ts";
import type { ChunkResources } from "./resources.ts";

interface ChunkReaderOptions {
  project: Project;
  resources: ChunkResources;
  /** Looked at before the store, where there is one. */
  cache?: ChunkCache | undefined;
  /** Called for all bytes that come from the store, also in vain. */
  onDownload?: ((bytes: number) => void) | undefined;
}

export interface ReadOptions {
  /** What is downloaded is put into the cache. */
  keep?: boolean | undefined;
  /** Room for objects of somebody who holds it already; without it there is a wait for some. */
  sealed?: SharedBuffer | undefined;
}

/** A look at a patch a moment ago, in vain perhaps: what was downloaded then is not downloaded again. */
interface FirstLook {
  bytes?: Uint8Array;
}

interface Opening<T> extends ReadOptions {
  open: (object: SealedObject) => Promise<T>;
  firstLook?: FirstLook | undefined;
  /** Downloaded just once: that it cannot be opened is no surprise, and no finding. */
  once?: boolean | undefined;
  onOpened?: ((object: Uint8Array) => Promise<void>) | undefined;
}

export class ChunkReader {
  readonly #options: ChunkReaderOptions;
  readonly #signal: AbortSignal;

  constructor(options: ChunkReaderOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /**
   * Opens the chunk into `into`, its leaves behind it; the chunk's length. Throws `DamageError` where the store's objects
   * are not that chunk, `MissingError`.
   */
  async read(into: SharedBuffer, location: ChunkLocation, options: ReadOptions = {}): Promise<number> {
    return await this.#read(into, location, options);
  }

  /**
   * The same where `into` has `length` bytes of other content already, its leaves behind it. If this differs from the chunk
   * only in blocks of its patch, the whole chunk under the patch is not read.
   */
  async update(
    into: SharedBuffer,
    location: ChunkLocation,
    { length, keep }: { length: number; keep: boolean },
  ): Promise<number> {
    if (location.base === undefined) return await this.#read(into, location, { keep });
    const firstLook: FirstLook = {};
    try {
      await this.#applyPatch(into, location, { keep, firstLook, once: true });
      return length;
    } catch (error) {
      if (!(error instanceof DamageError || error instanceof MissingError)) throw error; // of one look
    }
    return await this.#read(into, location, { keep, firstLook });
  }

  /**
   * Makes the chunk at `location` of the whole one under it: `into` has the leaves of that, and its content unless only
   * blocks in the ranges `wanted` are asked for. Throws `DamageError` where that does not make the chunk, `MissingError`.
   */
  async applyPatch(into: SharedBuffer, location: ChunkLocation, wanted: readonly Range[]): Promise<void> {
    await this.#applyPatch(into, location, { wanted });
  }

  /**
   * Checks the object at `ref`, a whole chunk or a patch; `into` is room to work in. Of a patch's base just the leaves are
   * read. `onOpened` gets the object as the store has it, once it is known to be right; its bytes are used again afterwards.
   * Throws `DamageError`, `MissingError`.
   */
  async assertObject(
    into: SharedBuffer,
    ref: ObjectRef,
    onOpened?: (object: Uint8Array) => Promise<void>,
  ): Promise<void> {
    await this.#open(ref, { onOpened, open: (object) => this.#assertOpen(into, object) });
  }

  async #read(
    into: SharedBuffer,
    location: ChunkLocation,
    { firstLook, ...options }: ReadOptions & { firstLook?: FirstLook },
  ): Promise<number> {
    const { pool } = this.#options.resources;
    const whole = location.base ?? location.object;
    const length = await this.#open(whole, { ...options, open: (object) => pool.open(into, object) });
    if (location.base !== undefined) await this.#applyPatch(into, location, { ...options, firstLook });
    return length;
  }

  async #applyPatch(
    into: SharedBuffer,
    { id, object: ref }: ChunkLocation,
    { wanted, ...options }: Omit<Opening<Uint8Array>, "open"> & { wanted?: readonly Range[] },
  ): Promise<void> {
    const { project, resources } = this.#options;
    const made = await this.#open(ref, {
      ...options,
      open: (object) => resources.pool.apply(into, object, wanted),
    });
    if (equalBytes(made, id)) return;
    throw cannotRead(project.objectKey(chunkName(ref)), `it does not yield chunk ${toHex(id)}`);
  }

  async #assertOpen(into: SharedBuffer, object: SealedObject): Promise<void> {
    const { project, resources } = this.#options;
    const bytes = object.sealed.bytes.subarray(0, object.sealedLength);
    if (objectType(bytes) === OBJECT_TYPE.patch) return await this.#assertPatch(into, object, bytes);
    const length = await resources.pool.open(into, object);
    const front = await project.front(bytes, { type: OBJECT_TYPE.chunk, name: chunkName(object.ref) });
    const wanted = into.bytes.subarray(project.chunkBytes, project.chunkBytes + leavesBytes(length));
    if (!equalBytes(front, wanted)) throw cannotRead(object.key, "its leaves do not match its content");
  }

  async #assertPatch(into: SharedBuffer, object: SealedObject, bytes: Uint8Array): Promise<void> {
    const { project, resources, onDownload } = this.#options;
    const front = await project.front(bytes, { type: OBJECT_TYPE.patch, name: chunkName(object.ref) });
    const { base, length } = decodeFront(front, object);
    const leaves = new LeafReader({ project, cache: undefined }, this.#signal);
    try {
      into.bytes.set(await leaves.get(base, { length }), project.chunkBytes);
    } finally {
      onDownload?.(leaves.downloadedBytes);
    }
    await resources.pool.apply(into, object, []);
  }

  /**
   * Has `open` open the object out of the cache, or the store's where the cache does not have it whole. That the store's is
   * damaged or missing is said only once it was read a second time.
   */
  async #open<T>(ref: ObjectRef, opening: Opening<T>): Promise<T> {
    const { project, resources, cache } = this.#options;
    const { firstLook, once = false } = opening;
    const name = chunkName(ref);
    const sealed = opening.sealed ?? await resources.sealed.acquire();
    try {
      const seen = firstLook?.bytes;
      const known = seen ?? await cache?.get(name);
      if (known !== undefined) {
        const value = await this.#openBytes(ref, { bytes: known, sealed, opening }).catch(unlessDamaged);
        if (value !== undefined) return value;
        if (seen === undefined) await cache!.drop(name);
      }
      const download = () => this.#download(ref, { sealed, opening });
      // What was downloaded a moment ago was the first look.
      const isOnce = seen !== undefined || once;
      return await (isOnce ? download() : readTwice(download, { key: project.objectKey(name) }));
    } finally {
      if (opening.sealed === undefined) sealed.release();
    }
  }

  async #download<T>(
    ref: ObjectRef,
    { sealed, opening }: { sealed: SharedBuffer; opening: Opening<T> },
  ): Promise<T> {
    const { project, cache, onDownload } = this.#options;
    const { firstLook, onOpened, keep } = opening;
    const name = chunkName(ref);
    // One byte more than a chunk can have: what is longer is not taken into memory to be told so.
    const range = { offset: 0, length: sealed.bytes.length + 1 };
    const bytes = await project.get(name, { range, into: sealed.bytes, signal: this.#signal });
    onDownload?.(bytes.length);
    if (firstLook !== undefined) firstLook.bytes = bytes.slice();
    const value = await this.#openBytes(ref, { bytes, sealed, opening });
    await onOpened?.(bytes);
    if (keep === true) await cache?.put(name, bytes);
    return value;
  }

  async #openBytes<T>(
    ref: ObjectRef,
    { bytes, sealed, opening }: { bytes: Uint8Array; sealed: SharedBuffer; opening: Opening<T> },
  ): Promise<T> {
    const { project } = this.#options;
    const name = chunkName(ref);
    const key = project.objectKey(name);
    const isPatch = objectType(bytes) === OBJECT_TYPE.patch;
    const keys = await project.keyOf(bytes, { type: isPatch ? OBJECT_TYPE.patch : OBJECT_TYPE.chunk, name });
    if (bytes.length > sealed.bytes.length) {
      throw cannotRead(key, "it is larger than any chunk");
    }
    if (bytes.buffer !== sealed.bytes.buffer) sealed.bytes.set(bytes);
    return await opening.open({ ref, sealed, sealedLength: bytes.length, keys, key });
  }
}

function decodeFront(front: Uint8Array, object: SealedObject) {
  try {
    return decodePatchFront(front);
  } catch (cause) {
    throw cannotRead(object.key, "its front cannot be read", cause);
  }
}
