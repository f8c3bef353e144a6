/**
 * Writing chunks: is the chunk known, where does it go, whole or as a block patch, compress, seal, upload. docs/gc.md says
 * why a condemned key is never used again.
 */
import type { ChunkCache } from "../cache/chunk_cache.ts";
import type { LeafCache } from "../cache/leaf_cache.ts";
import { patchId } from "../codec/ids.ts";
import type { ProjectKeys } from "../codec/keys.ts";
import type { Context } from "../context.ts";
import { describeError, StoreError, unlessUnreadable } from "../errors.ts";
import { type ChunkLocation, type Entry, refsOf, wholeAt } from "../format/entries.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { OBJECT_TYPE } from "../format/object.ts";
import type { CondemnedObjects } from "../project/sharing/condemned.ts";
import { quarantine } from "../project/sharing/quarantine.ts";
import { equalBytes, toHex } from "../util/bytes.ts";
import type { Range } from "../util/ranges.ts";
import { KnownObjects, type KnownObjectsOptions } from "./known_objects.ts";
import { frontOf, LeafReader } from "./leaves.ts";
import { pageSizes, patchSizes, wholeSizes } from "./object_sizes.ts";
import type { SharedBuffer } from "./pool/buffers.ts";
import type { ChunkBuffer } from "./pool/chunk_pool.ts";
import type { WrittenObject } from "./present_objects.ts";
import type { ChunkResources } from "./resources.ts";
import { type Patch, patchOver, sealChunk, type SealOptions } from "./seal_chunk.ts";

interface ChunkWriterOptions extends KnownObjectsOptions {
  keys: ProjectKeys;
  resources: ChunkResources;
  condemned: CondemnedObjects;
  /** Suffix for chunks whose plain key is condemned. */
  lease: Uint8Array;
  /** Keeps what is likely to be needed again. */
  cache?: ChunkCache | undefined;
  leafCache?: LeafCache | undefined;
}

/** What of a chunk is in its buffer. */
export type ChunkContent =
  /** All of it. `keep`: the next backup may need it again. */
  | { kind: "whole"; keep: boolean }
  /** The leaves, and all content but the ranges `missing`, of whole blocks. */
  | {
    kind: "blocks";
    missing: readonly Range[];
    /** Leaves of the whole chunk of the candidate. */
    baseLeaves: Uint8Array;
    /** Brings what is missing. */
    fill: (sealed: SharedBuffer) => Promise<void>;
  };

export const WHOLE: ChunkContent = { kind: "whole", keep: false };

interface WriteOptions {
  position: number;
  content: ChunkContent;
  /** What the volume had at this position last: the same perhaps, or something to be patched. */
  candidate?: Entry;
  /** The point is built on the candidate in any case: it is not asked for where nothing could be put in its place. */
  trustsCandidate?: boolean;
}

type Outcome = "zero" | "new" | "patched" | "reused";

/** What became of a chunk. */
export interface StoredChunk {
  entry: Entry;
  outcome: Outcome;
}

interface Stored {
  location: ChunkLocation;
  outcome: Outcome;
}

/** A chunk whose id is known, to be stored. */
interface HashedChunk extends WriteOptions {
  id: Uint8Array;
  chunk: ChunkBuffer;
}

export class ChunkWriter {
  readonly #options: ChunkWriterOptions;
  readonly #context: Context;
  readonly #leaves: LeafReader;
  readonly #known: KnownObjects;
  /** Chunks on their way, by id in hex. */
  readonly #onTheirWay = new Map<string, Promise<ChunkLocation>>();
  uploadedBytes = 0;

  constructor(options: ChunkWriterOptions, context: Context) {
    this.#options = options;
    this.#context = context;
    const { project, leafCache: cache } = options;
    this.#leaves = new LeafReader({ project, cache }, context.signal);
    this.#known = new KnownObjects(options, context);
  }

  /** Bytes of leaves that were downloaded. */
  get downloadedBytes(): number {
    return this.#leaves.downloadedBytes;
  }

  /** Leaves of the whole chunk that is stored at `ref`; `undefined` where they cannot be had, or are of another length. */
  async leavesOf(
    ref: ObjectRef,
    at: { position: number; length: number },
  ): Promise<Uint8Array | undefined> {
    return await this.#leaves.get(ref, at).catch(unlessUnreadable);
  }

  /** Whether this run has put the whole chunk under its plain key, or the store said in this run that it is there. */
  hasSeen(ref: ObjectRef): boolean {
    return this.#known.hasSeen(ref);
  }

  /** What was written last of what this writer has put or found, once `assertStored` has looked at it. */
  get newest(): WrittenObject | undefined {
    return this.#known.newest;
  }

  /**
   * To be called before a manifest names what this writer has put or found: asks the store for all of it once more. Throws
   * `StoreError` where it is not there after all.
   */
  async assertStored(): Promise<void> {
    await this.#known.check();
  }

  /** No plan condemns it, and it was not found damaged. */
  async isUsable(...refs: ObjectRef[]): Promise<boolean> {
    const { condemned, marked } = this.#options;
    return !refs.some((ref) => marked.has(ref)) && !await condemned.has(...refs);
  }

  /**
   * Hashes the chunk, and stores it unless the project holds it. Each id is uploaded once, however many positions have it at
   * the same time. The chunk's buffer is released, and as soon as its content is not needed any more: while the upload runs,
   * others are compressed.
   */
  async write(chunk: ChunkBuffer, options: WriteOptions): Promise<StoredChunk> {
    const { candidate, content } = options;
    try {
      const missing = content.kind === "blocks" ? content.missing : [];
      const id = await this.#options.resources.pool.hash(chunk, this.#options.keys, missing);
      if (id === undefined) return { entry: undefined, outcome: "zero" };
      const isCandidate = candidate !== undefined && equalBytes(candidate.id, id);
      if (isCandidate && await this.#canReuse(candidate, chunk.length, options)) {
        return { entry: candidate, outcome: "reused" };
      }
      return await this.#storeOnce({ ...options, id, chunk });
    } finally {
      chunk.buffer.release();
    }
  }

  /** What only a manifest says to be there is asked for, as long as the chunk itself is at hand to be stored instead. */
  async #canReuse(
    location: ChunkLocation,
    length: number,
    { trustsCandidate = false, content }: WriteOptions,
  ): Promise<boolean> {
    if (!await this.isUsable(...refsOf(location))) return false;
    if (trustsCandidate && content.kind === "blocks") return true;
    const { object, base } = location;
    if (base === undefined) return await this.#known.has(object, wholeSizes(length));
    return await this.#known.has(object, patchSizes(length)) &&
      await this.#known.has(base, wholeSizes(length));
  }

  /** Whoever has a chunk of the same id waits for the one that is on its way, and holds no buffer meanwhile. */
  async #storeOnce(hashed: HashedChunk): Promise<StoredChunk> {
    const { id, chunk } = hashed;
    const plain = { id, lease: undefined };
    if (this.#known.hasSeen(plain)) return { entry: wholeAt(plain), outcome: "reused" };
    const name = toHex(id);
    const known = this.#onTheirWay.get(name);
    if (known !== undefined) {
      chunk.buffer.release();
      return { entry: await known, outcome: "reused" };
    }
    const storing = this.#store(hashed);
    const located = storing.then(({ location }) => location);
    // Who waits for it sees the failure; nobody may be waiting.
    located.catch(() => {});
    this.#onTheirWay.set(name, located);
    try {
      const { location, outcome } = await storing;
      this.#known.remember(location);
      return { entry: location, outcome };
    } finally {
      this.#onTheirWay.delete(name);
    }
  }

  /** Questions are asked while others are uploaded; of these there are as many at once as buffers for sealed objects. */
  async #store(hashed: HashedChunk): Promise<Stored> {
    const { id, chunk, content } = hashed;
    const ref = await this.#refFor(id);
    if (await this.#known.has(ref, wholeSizes(chunk.length))) {
      return { location: wholeAt(ref), outcome: "reused" };
    }
    // What was found damaged is written over, for all points that refer to it.
    const patch = this.#options.marked.has(ref) ? undefined : await this.#findPatch(hashed);
    const sealed = await this.#options.resources.sealed.acquire();
    try {
      if (patch !== undefined) return await this.#storePatch(hashed, patch, sealed);
      if (content.kind === "blocks") await content.fill(sealed);
      return await this.#storeWhole(hashed, ref, sealed);
    } finally {
      sealed.release();
    }
  }

  async #storeWhole(
    { chunk, content, position }: HashedChunk,
    ref: ObjectRef,
    sealed: SharedBuffer,
  ): Promise<Stored> {
    const { cache, leafCache } = this.#options;
    const body = await this.#upload(chunk, ref, { sealed });
    await leafCache?.put(position, frontOf(body));
    if (content.kind === "whole" && content.keep) await cache?.put(chunkName(ref), body);
    return { location: wholeAt(ref), outcome: "new" };
  }

  /** The next patch of this position needs the blocks of this one. */
  async #storePatch({ id, chunk }: HashedChunk, patch: Patch, sealed: SharedBuffer): Promise<Stored> {
    const { cache, keys } = this.#options;
    const ref = await this.#refFor(patchId(keys.patchKey, id, patch.base));
    const body = await this.#upload(chunk, ref, { sealed, patch });
    await cache?.put(chunkName(ref), body);
    return { location: { id, object: ref, base: patch.base }, outcome: "patched" };
  }

  /** How the chunk can be stored as a patch over what the volume had there; always over a whole chunk. */
  async #findPatch(
    { chunk, candidate, position, content, trustsCandidate = false }: HashedChunk,
  ): Promise<Patch | undefined> {
    const base = candidate?.base ?? candidate?.object;
    if (base === undefined || !await this.isUsable(base)) return undefined;
    if (!trustsCandidate && !await this.#known.has(base, wholeSizes(chunk.length))) return undefined;
    const leaves = content.kind === "blocks"
      ? content.baseLeaves
      : await this.leavesOf(base, { position, length: chunk.length });
    const { chunkBytes } = this.#options.project;
    return leaves && patchOver(base, { chunk, leaves, chunkBytes });
  }

  /** Stores a page, unless it is at `known`, where it was before, or the project holds it. */
  async writePage(id: Uint8Array, page: Uint8Array, known: ObjectRef | undefined): Promise<ObjectRef> {
    const { keys, project } = this.#options;
    const isKnown = known !== undefined && equalBytes(known.id, id) && await this.isUsable(known);
    const ref = isKnown ? known : await this.#refFor(id);
    if (await this.#known.has(ref, pageSizes(page))) return ref;
    const object = { type: OBJECT_TYPE.page, name: chunkName(ref), content: page };
    const options = { keys, signal: this.#context.signal };
    await this.#uploaded(ref, await this.#put(ref, () => project.write(object, options)));
    return ref;
  }

  /** Where a new object of this id goes. */
  async #refFor(id: Uint8Array): Promise<ObjectRef> {
    const { condemned, lease } = this.#options;
    const plain: ObjectRef = { id, lease: undefined };
    return await condemned.has(plain) ? { id, lease } : plain;
  }

  async #upload(
    chunk: ChunkBuffer,
    ref: ObjectRef,
    sealing: Pick<SealOptions, "sealed" | "patch">,
  ): Promise<Uint8Array> {
    const options = { ...this.#options, ...sealing, signal: this.#context.signal };
    const body = await this.#put(ref, () => sealChunk(chunk, ref, options));
    await this.#uploaded(ref, body.length);
    return body;
  }

  /** An object of which the store says that it holds other bytes is marked, or the next backup would take it for present. */
  async #put<T>(ref: ObjectRef, put: () => Promise<T>): Promise<T> {
    try {
      return await put();
    } catch (error) {
      if (error instanceof StoreError && error.isOfOtherBytes) await this.#quarantine(ref, error);
      throw error;
    }
  }

  async #quarantine(ref: ObjectRef, error: StoreError): Promise<void> {
    const { clock, log } = this.#context;
    const at = new Date(clock.now()).toISOString();
    const finding = { ref, found: "damaged", reason: describeError(error), at } as const;
    await quarantine(this.#options.project, finding, this.#context).catch((err) =>
      log.debug({ err }, "could not quarantine a damaged object")
    );
  }

  /** Added only now: many uploads are under way at once, and `+= await` adds to what the sum was before the wait. */
  async #uploaded(ref: ObjectRef, sizeBytes: number): Promise<void> {
    this.uploadedBytes += sizeBytes;
    await this.#known.add(ref, sizeBytes);
  }
}
