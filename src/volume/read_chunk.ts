/**
 * Reading chunks: download, open, verify. A chunk is one object, or a block patch over a whole chunk: then the whole one
 * is opened first and the patch applied to it.
 */
import type { ChunkCache } from "../cache/chunk_cache.ts";
import { DamageError, MissingError } from "../errors.ts";
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

export interface ReadOptions {
  project: Project;
  workshop: ChunkResources;
  /** Looked at before the store, where there is one. */
  cache?: ChunkCache | undefined;
  /** What is downloaded is put into the cache. */
  keep?: boolean | undefined;
  signal: AbortSignal;
  /** Patches by name that were downloaded a moment ago, in vain perhaps: they are not downloaded again. */
  patches?: Map<string, Uint8Array> | undefined;
  /** Downloaded just once: that it cannot be opened is no surprise, and no finding. */
  once?: boolean | undefined;
  /** Room for objects of somebody who holds it already; without it there is a wait for some. */
  sealed?: SharedBuffer | undefined;
  /** Is given the object as the store has it, once it is known to be what it should be; its bytes are used again afterwards. */
  onOpened?: ((object: Uint8Array) => Promise<void>) | undefined;
  /** Told of all bytes that come from the store, also in vain. */
  onDownload?: ((bytes: number) => void) | undefined;
}

/**
 * Opens the chunk into `into`, its leaves behind it; the chunk's length. Throws `DamageError` where the store's objects
 * are not that chunk, `MissingError`.
 */
export async function readChunk(
  into: SharedBuffer,
  place: ChunkLocation,
  options: ReadOptions,
): Promise<number> {
  const { workshop } = options;
  const whole = place.base ?? place.object;
  const length = await openObject(
    whole,
    { ...options, patches: undefined },
    (object) => workshop.pool.open(into, object),
  );
  if (place.base !== undefined) await applyPatch(into, place, options);
  return length;
}

/**
 * Makes the chunk at `place` of the whole one under it: `into` has the leaves of that, and its content unless only
 * blocks in the ranges `wanted` are asked for. Throws `DamageError` where that does not make the chunk, `MissingError`.
 */
export async function applyPatch(
  into: SharedBuffer,
  { id, object: ref }: ChunkLocation,
  options: ReadOptions & { wanted?: readonly Range[] },
): Promise<void> {
  const { project, workshop, wanted } = options;
  const made = await openObject(ref, options, (object) => workshop.pool.apply(into, object, wanted));
  if (equalBytes(made, id)) return;
  throw damaged({ key: project.key(chunkName(ref)) }, `it does not yield chunk ${toHex(id)}`);
}

/**
 * Makes the chunk of other content, with its leaves behind it, that `into` has already, where this differs from the chunk
 * only in blocks of its patch: the whole chunk under it is not needed then. Otherwise false, and `into` is undefined.
 */
export async function patchInPlace(
  into: SharedBuffer,
  place: ChunkLocation,
  options: ReadOptions,
): Promise<boolean> {
  if (place.base === undefined) return false;
  return await applyPatch(into, place, { ...options, once: true }).then(() => true, (error) => {
    if (error instanceof DamageError || error instanceof MissingError) return false; // of one look
    throw error;
  });
}

/**
 * Checks the object at `ref`, a whole chunk or a patch; `into` is room to work in. Of a patch's base just the leaves are
 * read. Throws `DamageError`, `MissingError`.
 */
export async function assertObject(into: SharedBuffer, ref: ObjectRef, options: ReadOptions): Promise<void> {
  const { workshop } = options;
  await openObject(ref, options, async (object) => {
    const bytes = object.sealed.bytes.subarray(0, object.sealedLength);
    if (objectType(bytes) === OBJECT_TYPE.patch) return await assertPatch(into, object, options);
    const length = await workshop.pool.open(into, object);
    const { project } = options;
    const front = await project.front(bytes, { type: OBJECT_TYPE.chunk, name: chunkName(ref) });
    const wanted = into.bytes.subarray(project.chunkBytes, project.chunkBytes + leavesBytes(length));
    if (!equalBytes(front, wanted)) throw damaged(object, "its leaves do not match its content");
  });
}

async function assertPatch(
  into: SharedBuffer,
  object: SealedObject,
  { project, workshop, signal, onDownload }: ReadOptions,
): Promise<void> {
  const bytes = object.sealed.bytes.subarray(0, object.sealedLength);
  const { base, length } = decodeFront(
    await project.front(bytes, { type: OBJECT_TYPE.patch, name: chunkName(object.ref) }),
    object,
  );
  const leaves = new LeafReader({ project, cache: undefined }, signal);
  try {
    into.bytes.set(await leaves.get(base, { length }), project.chunkBytes);
  } finally {
    onDownload?.(leaves.downloadedBytes);
  }
  await workshop.pool.apply(into, object, []);
}

function decodeFront(front: Uint8Array, object: SealedObject) {
  try {
    return decodePatchFront(front);
  } catch (cause) {
    throw damaged(object, "its front cannot be read", cause);
  }
}

function damaged({ key }: { key: string }, state: string, cause?: unknown): DamageError {
  return new DamageError(key, `Cannot read "${key}": ${state}`, { cause });
}

/**
 * Has `open` open the object out of the cache, or the store's where the cache does not have it whole. That the store's is
 * damaged or missing is said only once it was read a second time.
 */
async function openObject<T>(
  ref: ObjectRef,
  options: ReadOptions,
  open: (object: SealedObject) => Promise<T>,
): Promise<T> {
  const { project, workshop, cache, signal } = options;
  const name = chunkName(ref);
  const sealed = options.sealed ?? await workshop.sealed.acquire();
  try {
    const seen = options.patches?.get(name);
    const cached = seen ?? await cache?.get(name);
    if (cached !== undefined) {
      const value = await openBytes(ref, { bytes: cached, sealed, project, open }).catch(unlessDamaged);
      if (value !== undefined) return value;
      if (seen === undefined) await cache!.drop(name);
    }
    const key = project.key(name);
    const download = async () => {
      // One byte more than a chunk can have: what is longer is not taken into memory to be told so.
      const range = { offset: 0, length: sealed.bytes.length + 1 };
      const bytes = await project.store.get(key, { range, into: sealed.bytes, signal });
      options.onDownload?.(bytes.length);
      options.patches?.set(name, bytes.slice());
      const value = await openBytes(ref, { bytes, sealed, project, open });
      await options.onOpened?.(bytes);
      if (options.keep === true) await cache?.put(name, bytes);
      return value;
    };
    // What was downloaded a moment ago was the first look.
    return await (seen !== undefined || options.once === true ? download() : readTwice(download, { key }));
  } finally {
    if (options.sealed === undefined) sealed.release();
  }
}

async function openBytes<T>(
  ref: ObjectRef,
  { bytes, sealed, project, open }: {
    bytes: Uint8Array;
    sealed: SharedBuffer;
    project: Project;
    open: (object: SealedObject) => Promise<T>;
  },
): Promise<T> {
  const name = chunkName(ref);
  const key = project.key(name);
  const isPatch = objectType(bytes) === OBJECT_TYPE.patch;
  const keys = await project.keyOf(bytes, { type: isPatch ? OBJECT_TYPE.patch : OBJECT_TYPE.chunk, name });
  if (bytes.length > sealed.bytes.length) {
    throw damaged({ key }, `it is larger than any chunk`);
  }
  if (bytes.buffer !== sealed.bytes.buffer) sealed.bytes.set(bytes);
  return await open({ ref, sealed, sealedLength: bytes.length, keys, key });
}

function unlessDamaged(error: unknown): undefined {
  if (!(error instanceof DamageError)) throw error;
}
