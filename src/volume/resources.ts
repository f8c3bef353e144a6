/** The worker threads and every buffer that chunks may take, for one run. */
import { sealedBytes } from "../codec/seal.ts";
import { zstd } from "../codec/zstd.ts";
import { leavesBytes } from "../format/limits.ts";
import type { ChunkerOptions } from "./chunker.ts";
import { BufferPool } from "./pool/buffers.ts";
import { chunkBufferBytes, ChunkPool } from "./pool/chunk_pool.ts";
import { type Context, DEFAULT_JOBS } from "../context.ts";

/** Chunks that a chunker holds open at once. */
const OPEN_CHUNKS = 4;
/** Chunks in work beyond one for each thread, and buffers to open base chunks in. */
const EXTRA_BUFFERS = 2;

/** What a run works on: the chunks of a stream, cut by a chunker, or those of a store. */
type ChunkOrigin = "stream" | "store";

export class ChunkResources {
  readonly #chunkBytes: number;
  readonly pool: ChunkPool;
  /** For the volume's chunks. */
  readonly chunks: BufferPool;
  /** For chunks that are opened to fill another: apart, so that who holds one of the others never waits for it. */
  readonly bases: BufferPool;
  readonly sealed: BufferPool;
  /** Chunks in work at once, beyond those that a chunker holds open: being fetched, hashed, opened or compressed. */
  readonly window: number;
  /** Sealed objects on their way at once. */
  readonly jobs: number;

  constructor(
    { chunkBytes, from }: { chunkBytes: number; from: ChunkOrigin },
    { threads, jobs = DEFAULT_JOBS, log }: Pick<Context, "threads" | "jobs" | "log">,
  ) {
    log.debug({ threads, jobs, zstd: zstd().name }, "starting the workers");
    this.#chunkBytes = chunkBytes;
    this.jobs = jobs;
    this.pool = new ChunkPool({ threads, chunkBytes });
    const open = from === "stream" ? OPEN_CHUNKS : 0;
    // Over a slow line a chunk keeps its buffer for long: while it is asked for, or fetched.
    const buffers = Math.max(open + threads + EXTRA_BUFFERS, jobs);
    this.window = buffers - open;
    this.chunks = new BufferPool(buffers, chunkBufferBytes(chunkBytes));
    this.bases = new BufferPool(EXTRA_BUFFERS, chunkBufferBytes(chunkBytes));
    this.sealed = new BufferPool(jobs, sealedBytes(leavesBytes(chunkBytes), chunkBytes));
  }

  /** How a stream is cut into chunks, in these buffers; `rebuild` as `ChunkerOptions` has it. */
  cutting(rebuild: readonly number[] = []): ChunkerOptions {
    return { chunkBytes: this.#chunkBytes, buffers: this.chunks, maxOpen: OPEN_CHUNKS, rebuild };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.close();
  }
}
