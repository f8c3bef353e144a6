/**
 * Writing chunks: is the chunk known, where does it go, whole or as a block patch, compress, seal, upload. docs/gc.md says
 * why a condemned key is never used again.
 */
import type { ChunkCache } from "../cache/chunk_cache.ts";
import type { LeafCache } from "../cache/leaf_cache.ts";
import { differentBlocks, patchId } from "../codec/ids.ts";
import type { ProjectKeys } from "../codec/keys.ts";
import { SEAL_BYTES, sealedBytes } from "../codec/seal.ts";
import { describeError, isUnreadable, StoreError } from "../errors.ts";
import { equalBytes, toHex } from "../util/bytes.ts";
import type { Range } from "../util/ranges.ts";
import { type ChunkLocation, type Entry, EntryList, refsOf, wholeAt } from "../format/entries.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { ID_BYTES, leavesBytes } from "../format/limits.ts";
import { HEADER_BYTES, OBJECT_TYPE } from "../format/object.ts";
import { type BlockSet, patchFrontBytes } from "../format/patch.ts";
import type { SharedBuffer } from "./pool/buffers.ts";
import type { ChunkBuffer } from "./pool/chunk_pool.ts";
import type { Context } from "../context.ts";
import type { CondemnedObjects } from "../project/sharing/condemned.ts";
import { IdSet } from "./id_set.ts";
import type { Project } from "../project/project.ts";
import { quarantine, type QuarantinedObjects } from "../project/sharing/quarantine.ts";
import { frontOf, LeafReader } from "./leaves.ts";
import { PresentObjects, type WrittenObject } from "./present_objects.ts";
import { StoredObjects } from "./stored_objects.ts";
import type { ChunkResources } from "./resources.ts";

/** Chunks remembered as present, about 70 bytes each; beyond it the store is asked again. */
const MAX_REMEMBERED = 50_000;

/** Some blocks of a chunk, over a whole one. */
export interface Patch {
  base: ObjectRef;
  blocks: BlockSet;
}

export interface SealOptions {
  project: Project;
  workshop: ChunkResources;
  keys: ProjectKeys;
  /** A buffer for the sealed object. */
  sealed: SharedBuffer;
  /** Without it the chunk is sealed whole. */
  patch?: Patch | undefined;
  signal: AbortSignal;
}

/**
 * Compresses, seals and uploads a hashed chunk as the object `ref`; the object as it was uploaded, in `sealed`. The
 * chunk's buffer is released once its content is not needed any more.
 */
export async function sealChunk(
  chunk: ChunkBuffer,
  ref: ObjectRef,
  options: SealOptions,
): Promise<Uint8Array> {
  const { project, keys, workshop, sealed, patch, signal } = options;
  const length = await workshop.pool.seal(chunk, { ref, patch, sealed, keys });
  chunk.buffer.release();
  const body = sealed.bytes.subarray(0, length);
  await project.store.put(project.key(chunkName(ref)), body, { signal });
  return body;
}

/** What makes the chunk in `chunk`, leaves behind it, of the whole chunk at `base`; `undefined` where it is too much. */
export function patchOver(
  base: ObjectRef,
  { chunk, leaves, chunkBytes }: { chunk: ChunkBuffer; leaves: Uint8Array; chunkBytes: number },
): Patch | undefined {
  const blocks = differentBlocks(chunk.buffer.bytes.subarray(chunkBytes), leaves, chunk.length);
  return blocks.count > 0 && blocks.fitsPatch ? { base, blocks } : undefined;
}

export interface ChunkWriterOptions {
  project: Project;
  keys: ProjectKeys;
  workshop: ChunkResources;
  condemned: CondemnedObjects;
  marked: QuarantinedObjects;
  /** Suffix for chunks whose plain key is condemned. */
  lease: Uint8Array;
  /** Keeps what is likely to be needed again. */
  cache: ChunkCache | undefined;
  leafCache: LeafCache | undefined;
  /** The project held no chunk when the run began: none has to be looked for. */
  isFirst: boolean;
}

export interface WriteOptions {
  position: number;
  /** What the volume had at this position last: the same perhaps, or something to be patched. */
  hint?: Entry;
  /** The point is built on the hint in any case: it is not asked for where nothing could be put in its place. */
  trustsHint?: boolean | undefined;
  /** Content that is not in the buffer, in whole blocks; its leaves are. */
  missing: readonly Range[];
  /** Leaves of the whole chunk of the hint, where they are at hand. */
  baseLeaves?: Uint8Array | undefined;
  /** Brings what is missing. */
  fill: (sealed: SharedBuffer) => Promise<void>;
  /** The next backup may need the content again. */
  keep: boolean;
}

/** For content that is in the buffer as a whole. */
export const WHOLE: Omit<WriteOptions, "position" | "hint"> = {
  missing: [],
  fill: () => Promise.resolve(),
  keep: false,
};

export type Outcome = "zero" | "new" | "patched" | "reused";

/** What became of a chunk. */
export interface StoredChunk {
  entry: Entry;
  outcome: Outcome;
}

interface Stored {
  place: ChunkLocation;
  outcome: Outcome;
}

export class ChunkWriter {
  readonly #options: ChunkWriterOptions;
  readonly #context: Context;
  readonly #leaves: LeafReader;
  /** Ids in hex of chunks on their way. */
  readonly #onTheirWay = new Map<string, Promise<ChunkLocation>>();
  /** Ids of whole chunks that this run has put or found under their plain keys. */
  #seen = new IdSet();
  /** What the project holds is what `#seen` and `#onTheirWay` have, no more. */
  #knowsAll: boolean;
  readonly #present: PresentObjects;
  readonly #stored: StoredObjects;
  uploadedBytes = 0;

  constructor(options: ChunkWriterOptions, context: Context) {
    this.#options = options;
    this.#context = context;
    this.#knowsAll = options.isFirst;
    const { project, leafCache: cache } = options;
    this.#leaves = new LeafReader({ project, cache }, context.signal);
    this.#present = new PresentObjects(project, context);
    this.#stored = new StoredObjects(project, context);
  }

  /** Of leaves. */
  get downloadedBytes(): number {
    return this.#leaves.downloadedBytes;
  }

  /** Leaves of the whole chunk that is stored at `ref`; `undefined` where they cannot be had, or are of another length. */
  async leavesOf(
    ref: ObjectRef,
    at: { position: number; length: number },
  ): Promise<Uint8Array | undefined> {
    return await this.#leaves.get(ref, at).catch((error) => {
      if (!isUnreadable(error)) throw error;
      return undefined;
    });
  }

  /** Whether this run has put the whole chunk under its plain key, or the store said in this run that it is there. */
  hasSeen(ref: ObjectRef): boolean {
    return ref.lease === undefined && this.#seen.has(ref.id);
  }

  /** What was written last of what this writer has put or found, once `assertStored` has looked at it. */
  get newest(): WrittenObject | undefined {
    return this.#stored.newest;
  }

  /**
   * To be called before a manifest names what this writer has put or found: asks the store for all of it once more. Throws
   * `StoreError` where it is not there after all.
   */
  async assertStored(): Promise<void> {
    await this.#stored.check();
  }

  /**
   * Hashes the chunk, and stores it unless the project holds it.
   * Each id is uploaded once, however many positions have it at the same time. The chunk's buffer is released as soon
   * as its content is not needed any more: while the upload runs, others are compressed.
   */
  async write(chunk: ChunkBuffer, options: WriteOptions): Promise<StoredChunk> {
    try {
      return await this.#write(chunk, options);
    } finally {
      chunk.buffer.release();
    }
  }

  async #write(chunk: ChunkBuffer, options: WriteOptions): Promise<StoredChunk> {
    const { hint, missing } = options;
    const id = await this.#options.workshop.pool.hash(chunk, this.#options.keys, missing);
    if (id === undefined) return { entry: undefined, outcome: "zero" };
    if (hint !== undefined && equalBytes(hint.id, id) && await this.#canReuse(hint, chunk.length, options)) {
      return { entry: hint, outcome: "reused" };
    }
    return await this.#writeOnce(chunk, id, options);
  }

  /** What only a manifest says to be there is asked for, as long as the chunk itself is at hand to be stored instead. */
  async #canReuse(
    place: ChunkLocation,
    length: number,
    { trustsHint = false, missing }: WriteOptions,
  ): Promise<boolean> {
    if (!await this.isTrusted(...refsOf(place))) return false;
    if (trustsHint && missing.length > 0) return true;
    const { object, base } = place;
    if (base === undefined) return await this.#isThere(object, wholeSizes(length));
    return await this.#isThere(object, patchSizes(length)) && await this.#isThere(base, wholeSizes(length));
  }

  /** No plan condemns it, and it was not found damaged. */
  async isTrusted(...refs: ObjectRef[]): Promise<boolean> {
    const { condemned, marked } = this.#options;
    return !refs.some((ref) => marked.has(ref)) && !await condemned.has(...refs);
  }

  /** Stores a page, unless it is where it was before or the project holds it. */
  async writePage(id: Uint8Array, page: Uint8Array, known: ObjectRef | undefined): Promise<ObjectRef> {
    const { keys, project } = this.#options;
    const isKnown = known !== undefined && equalBytes(known.id, id) && await this.isTrusted(known);
    const ref = isKnown ? known : await this.#place(id);
    if (await this.#isThere(ref, pageSizes(page))) return ref;
    const object = { type: OBJECT_TYPE.page, name: chunkName(ref), content: page };
    const options = { key: keys, signal: this.#context.signal };
    await this.#uploaded(ref, await this.#put(ref, () => project.write(object, options)));
    return ref;
  }

  async #writeOnce(chunk: ChunkBuffer, id: Uint8Array, options: WriteOptions): Promise<StoredChunk> {
    if (this.#seen.has(id)) return { entry: wholeAt({ id, lease: undefined }), outcome: "reused" };
    const name = toHex(id);
    const known = this.#onTheirWay.get(name);
    if (known !== undefined) {
      chunk.buffer.release();
      return { entry: await known, outcome: "reused" };
    }
    const stored = this.#store(chunk, id, options);
    const place = stored.then(({ place }) => place);
    // Who waits for it sees the failure; nobody may be waiting.
    place.catch(() => {});
    this.#onTheirWay.set(name, place);
    try {
      const { outcome } = await stored;
      this.#remember(await place);
      return { entry: await place, outcome };
    } finally {
      this.#onTheirWay.delete(name);
    }
  }

  /** Questions are asked while others are uploaded; of these there are as many at once as buffers for sealed objects. */
  async #store(chunk: ChunkBuffer, id: Uint8Array, options: WriteOptions): Promise<Stored> {
    const ref = await this.#place(id);
    if (await this.#isThere(ref, wholeSizes(chunk.length))) return { place: wholeAt(ref), outcome: "reused" };
    // What was found damaged is written over, for all points that refer to it.
    const patch = this.#options.marked.has(ref) ? undefined : await this.#findPatch(chunk, options);
    const sealed = await this.#options.workshop.sealed.acquire();
    try {
      if (patch !== undefined) return await this.#storePatch(chunk, id, { patch, sealed });
      if (options.missing.length > 0) await options.fill(sealed);
      await this.#storeWhole(chunk, ref, { ...options, sealed });
      return { place: wholeAt(ref), outcome: "new" };
    } finally {
      sealed.release();
    }
  }

  async #storeWhole(
    chunk: ChunkBuffer,
    ref: ObjectRef,
    { sealed, keep, position }: { sealed: SharedBuffer; keep: boolean; position: number },
  ): Promise<void> {
    const { cache, leafCache } = this.#options;
    const options = { ...this.#options, sealed, signal: this.#context.signal };
    const body = await this.#put(ref, () => sealChunk(chunk, ref, options));
    await this.#uploaded(ref, body.length);
    await leafCache?.put(position, frontOf(body));
    if (keep) await cache?.put(chunkName(ref), body);
  }

  /** The next patch of this position needs the blocks of this one. */
  async #storePatch(
    chunk: ChunkBuffer,
    id: Uint8Array,
    { patch, sealed }: { patch: Patch; sealed: SharedBuffer },
  ): Promise<Stored> {
    const { cache, keys } = this.#options;
    const ref = await this.#place(patchId(keys.patchKey, id, patch.base));
    const options = { ...this.#options, sealed, patch, signal: this.#context.signal };
    const body = await this.#put(ref, () => sealChunk(chunk, ref, options));
    await this.#uploaded(ref, body.length);
    await cache?.put(chunkName(ref), body);
    return { place: { id, object: ref, base: patch.base }, outcome: "patched" };
  }

  /** How the chunk can be stored as a patch over what the volume had there; always over a whole chunk. */
  async #findPatch(
    chunk: ChunkBuffer,
    { hint, position, baseLeaves, trustsHint = false }: WriteOptions,
  ): Promise<Patch | undefined> {
    const base = hint?.base ?? hint?.object;
    if (base === undefined || !await this.isTrusted(base)) return undefined;
    if (!trustsHint && !await this.#isThere(base, wholeSizes(chunk.length))) return undefined;
    const leaves = baseLeaves ?? await this.leavesOf(base, { position, length: chunk.length });
    const { chunkBytes } = this.#options.project;
    return leaves && patchOver(base, { chunk, leaves, chunkBytes });
  }

  /** Where a new object of this id goes. */
  async #place(id: Uint8Array): Promise<ObjectRef> {
    const { condemned, lease } = this.#options;
    const plain: ObjectRef = { id, lease: undefined };
    return await condemned.has(plain) ? { id, lease } : plain;
  }

  /** By what the store says in this run, and whether it can be what it should be. What was found damaged is not there. */
  async #isThere(ref: ObjectRef, { least, most }: SizeRange): Promise<boolean> {
    if (this.hasSeen(ref)) return true;
    if (this.#knowsAll || this.#options.marked.has(ref)) return false;
    const sizeBytes = await this.#present.sizeOf(ref);
    if (sizeBytes === undefined || sizeBytes < least || sizeBytes > most) return false;
    await this.#stored.add(ref, sizeBytes);
    return true;
  }

  /** An object of which the store says that it holds other bytes is marked, or the next backup would take it for present. */
  async #put<T>(ref: ObjectRef, put: () => Promise<T>): Promise<T> {
    try {
      return await put();
    } catch (error) {
      if (error instanceof StoreError && error.isOfOtherBytes) {
        const { clock } = this.#context;
        const about = {
          found: "damaged" as const,
          reason: describeError(error),
          at: new Date(clock.now()).toISOString(),
        };
        await quarantine(this.#options.project, { ref, ...about }, this.#context).catch((err) =>
          this.#context.log.debug({ err }, "could not quarantine a damaged object")
        );
      }
      throw error;
    }
  }

  /** Added only now: many uploads are under way at once, and `+= await` adds to what the sum was before the wait. */
  async #uploaded(ref: ObjectRef, sizeBytes: number): Promise<void> {
    this.uploadedBytes += sizeBytes;
    await this.#stored.add(ref, sizeBytes);
  }

  #remember({ object, base }: ChunkLocation): void {
    if (object.lease !== undefined || base !== undefined) return; // few, and asked for again
    if (this.#seen.size === MAX_REMEMBERED) {
      this.#seen = new IdSet();
      this.#knowsAll = false;
    }
    this.#seen.add(object.id);
  }
}

/** Bytes that a stored object can have. */
interface SizeRange {
  least: number;
  most: number;
}

/** Of a whole chunk of `length` bytes: at least one of content, at most all of it, not compressed. */
function wholeSizes(length: number): SizeRange {
  return sizesOf(leavesBytes(length), length);
}

function patchSizes(length: number): SizeRange {
  return sizesOf(patchFrontBytes(length), length);
}

/** Ids are as random bytes: nothing makes them shorter, each of them that is different. */
function pageSizes(page: Uint8Array): SizeRange {
  const ids = new Set<string>();
  for (const { id } of EntryList.decode(page).refs()) ids.add(toHex(id));
  return { least: HEADER_BYTES + SEAL_BYTES + ids.size * ID_BYTES, most: sealedBytes(0, page.length) };
}

function sizesOf(frontBytes: number, contentBytes: number): SizeRange {
  return {
    least: HEADER_BYTES + frontBytes + 2 * SEAL_BYTES + 1,
    most: sealedBytes(frontBytes, contentBytes),
  };
}
