/**
 * Chunks between shared buffers and the store. Writing: is the chunk known, where does it go, compress, seal, upload.
 * Reading: download, open, verify. docs/gc.md says why a condemned key is never used again.
 */
import type { ProjectKey } from "../codec/keys.ts";
import { sealedBytes } from "../codec/seal.ts";
import { zstd } from "../codec/zstd.ts";
import type { ChunkCache } from "../cache/chunk_cache.ts";
import { DamageError } from "../errors.ts";
import { equalBytes, toHex } from "../format/bytes.ts";
import type { Entry } from "../format/entries.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { leavesBytes } from "../format/limits.ts";
import { OBJECT_TYPE } from "../format/object.ts";
import { BufferPool, type SharedBuffer } from "../pool/buffers.ts";
import { type ChunkBuffer, chunkBufferBytes, ChunkPool } from "../pool/chunk_pool.ts";
import type { Condemned } from "./gc/condemned.ts";
import { type Context, DEFAULT_JOBS } from "./context.ts";
import type { Project } from "./project.ts";
import type { SetAside } from "./verify/set_aside.ts";

/** Chunk buffers: those that the chunker holds open, those at work, and a few to open base chunks in. */
export const OPEN_CHUNKS = 6;
const BUFFERS_PER_THREAD = 2;
const EXTRA_BUFFERS = 2;
/** Ids remembered as present; beyond it the store is asked again. */
const MAX_REMEMBERED = 16_384;
const COMPRESSION_LEVEL = 3;

/** The worker threads and every buffer that chunks may take, for one run. */
export class ChunkWorkshop {
  readonly pool: ChunkPool;
  /** For the volume's chunks. */
  readonly chunks: BufferPool;
  /** For chunks that are opened to fill another: apart, so that who holds one of the others never waits for it. */
  readonly bases: BufferPool;
  readonly sealed: BufferPool;
  /** Chunks in work at once, beyond those that a chunker holds open: being read, hashed, opened or compressed. */
  readonly window: number;
  /** Sealed objects on their way at once. */
  readonly jobs: number;

  constructor(
    chunkBytes: number,
    { threads, jobs = DEFAULT_JOBS, log }: Pick<Context, "threads" | "jobs" | "log">,
  ) {
    log.debug({ threads, jobs, zstd: zstd().name }, "starting the workers");
    this.jobs = jobs;
    this.pool = new ChunkPool({ threads, chunkBytes });
    this.window = threads * BUFFERS_PER_THREAD + EXTRA_BUFFERS;
    this.chunks = new BufferPool(OPEN_CHUNKS + this.window, chunkBufferBytes(chunkBytes));
    this.bases = new BufferPool(EXTRA_BUFFERS, chunkBufferBytes(chunkBytes));
    this.sealed = new BufferPool(jobs, sealedBytes(leavesBytes(chunkBytes), chunkBytes));
  }

  async close(): Promise<void> {
    await this.pool.close();
  }
}

export interface FetchOptions {
  project: Project;
  workshop: ChunkWorkshop;
  /** Looked at before the store, where there is one. */
  cache?: ChunkCache | undefined;
  signal: AbortSignal;
  /** Is given the object as the store has it, once it is known to be that chunk; its bytes are used again afterwards. */
  onOpened?: ((object: Uint8Array) => Promise<void>) | undefined;
}

/**
 * Gets the chunk of `ref` and opens it into `into`: its length, and the bytes downloaded. Throws `DamageError` where
 * the store's object is not that chunk, `MissingError`.
 */
export async function fetchChunk(into: SharedBuffer, ref: ObjectRef, options: FetchOptions) {
  const { project, workshop, cache } = options;
  const name = chunkName(ref);
  const sealed = await workshop.sealed.acquire();
  try {
    const cached = await cache?.get(name);
    if (cached !== undefined) {
      const length = await openChunk({ into, sealed, bytes: cached }, ref, options).catch(unlessDamaged);
      if (length !== undefined) return { length, downloadedBytes: 0 };
      await cache!.drop(name);
    }
    const bytes = await project.store.get(project.key(name), { into: sealed.bytes, signal: options.signal });
    const length = await openChunk({ into, sealed, bytes }, ref, options);
    await options.onOpened?.(bytes);
    return { length, downloadedBytes: bytes.length };
  } finally {
    sealed.release();
  }
}

async function openChunk(
  { into, sealed, bytes }: { into: SharedBuffer; sealed: SharedBuffer; bytes: Uint8Array },
  ref: ObjectRef,
  { project, workshop }: FetchOptions,
): Promise<number> {
  const key = project.key(chunkName(ref));
  const keys = await project.keyOf(bytes, { type: OBJECT_TYPE.chunk, name: chunkName(ref) });
  if (bytes.length > sealed.bytes.length) {
    throw new DamageError(
      key,
      `Cannot read "${key}": it has ${bytes.length} bytes, more than a chunk can have`,
    );
  }
  if (bytes.buffer !== sealed.bytes.buffer) sealed.bytes.set(bytes);
  return await workshop.pool.open(into, { ref, sealed, sealedLength: bytes.length, keys, key });
}

function unlessDamaged(error: unknown): undefined {
  if (!(error instanceof DamageError)) throw error;
}

export interface SealOptions extends FetchOptions {
  keys: ProjectKey;
  /** A buffer for the sealed object. */
  sealed: SharedBuffer;
}

/**
 * Compresses, seals and uploads a hashed chunk, and keeps it in the cache where there is one; the bytes uploaded. The
 * chunk's buffer is released once its content is not needed any more.
 */
export async function sealChunk(chunk: ChunkBuffer, ref: ObjectRef, options: SealOptions): Promise<number> {
  const { project, keys, workshop, sealed, cache, signal } = options;
  const name = chunkName(ref);
  const length = await workshop.pool.seal(chunk, { ref, sealed, keys, level: COMPRESSION_LEVEL });
  chunk.buffer.release();
  const body = sealed.bytes.subarray(0, length);
  await project.store.put(project.key(name), body, { signal });
  await cache?.put(name, body);
  return length;
}

export interface ChunkWriterOptions {
  project: Project;
  keys: ProjectKey;
  workshop: ChunkWorkshop;
  condemned: Condemned;
  setAside: SetAside;
  /** Suffix for chunks whose plain key is condemned. */
  lease: Uint8Array;
  /** Keeps what is likely to be needed again. */
  cache: ChunkCache | undefined;
}

export interface WriteOptions {
  /** What the last backup had at this position. */
  hint: Entry;
  /** The stream gave only a part of the chunk: the next one may again, and then needs the rest. */
  partial: boolean;
}

/** What became of a chunk. */
export interface StoredChunk {
  entry: Entry;
  outcome: "zero" | "new" | "reused";
}

export class ChunkWriter {
  readonly #options: ChunkWriterOptions;
  readonly #context: Context;
  /** Ids in hex that are in the store or on their way, oldest first. */
  readonly #known = new Map<string, Promise<ObjectRef>>();
  uploadedBytes = 0;

  constructor(options: ChunkWriterOptions, context: Context) {
    this.#options = options;
    this.#context = context;
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

  async #write(chunk: ChunkBuffer, { hint, partial }: WriteOptions): Promise<StoredChunk> {
    const id = await this.#options.workshop.pool.hash(chunk, this.#options.keys.idKey);
    if (id === undefined) return { entry: undefined, outcome: "zero" };
    const { condemned, setAside } = this.#options;
    if (hint !== undefined && equalBytes(hint.id, id) && !setAside.has(hint) && !await condemned.has(hint)) {
      return { entry: hint, outcome: "reused" };
    }
    return await this.#writeOnce(chunk, id, partial);
  }

  /** Stores a page, unless it is where it was before or the project holds it. */
  async writePage(id: Uint8Array, page: Uint8Array, known: Entry): Promise<ObjectRef> {
    const { condemned, setAside, keys, project } = this.#options;
    const isThere = known !== undefined && equalBytes(known.id, id) && !setAside.has(known);
    if (isThere && !await condemned.has(known)) return known;
    const { ref, present } = await this.#place(id);
    if (present) return ref;
    const object = { type: OBJECT_TYPE.page, name: chunkName(ref), content: page };
    this.#uploaded(await project.write(object, { key: keys, signal: this.#context.signal }));
    return ref;
  }

  async #writeOnce(chunk: ChunkBuffer, id: Uint8Array, partial: boolean): Promise<StoredChunk> {
    const name = toHex(id);
    const known = this.#known.get(name);
    if (known !== undefined) {
      chunk.buffer.release();
      return { entry: await known, outcome: "reused" };
    }
    const stored = this.#store(chunk, id, partial);
    const ref = stored.then(({ ref }) => ref);
    // Who waits for it sees the failure; nobody may be waiting.
    ref.catch(() => {});
    this.#remember(name, ref);
    const { present } = await stored;
    return { entry: await ref, outcome: present ? "reused" : "new" };
  }

  /** A buffer for the sealed object is held from the first request on: so many chunks are on their way as there are jobs. */
  async #store(
    chunk: ChunkBuffer,
    id: Uint8Array,
    partial: boolean,
  ): Promise<{ ref: ObjectRef; present: boolean }> {
    const sealed = await this.#options.workshop.sealed.acquire();
    try {
      const { ref, present } = await this.#place(id);
      const cache = partial ? this.#options.cache : undefined;
      const options = { ...this.#options, cache, sealed, signal: this.#context.signal };
      if (!present) this.#uploaded(await sealChunk(chunk, ref, options));
      return { ref, present };
    } finally {
      sealed.release();
    }
  }

  /** Where a new object of this id goes, and whether it is there already. */
  async #place(id: Uint8Array): Promise<{ ref: ObjectRef; present: boolean }> {
    const { condemned, lease, project } = this.#options;
    const plain: ObjectRef = { id, lease: undefined };
    const ref = await condemned.has(plain) ? { id, lease } : plain;
    const info = await project.store.head(project.key(chunkName(ref)), { signal: this.#context.signal });
    return { ref, present: info !== undefined };
  }

  /** Added only now: many uploads are under way at once, and `+= await` adds to what the sum was before the wait. */
  #uploaded(bytes: number): void {
    this.uploadedBytes += bytes;
  }

  #remember(name: string, stored: Promise<ObjectRef>): void {
    this.#known.set(name, stored);
    if (this.#known.size > MAX_REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
  }
}
