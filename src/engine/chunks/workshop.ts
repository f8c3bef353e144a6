/** The worker threads and every buffer that chunks may take, for one run. */
import { sealedBytes } from "../../codec/seal.ts";
import { zstd } from "../../codec/zstd.ts";
import { leavesBytes } from "../../format/limits.ts";
import { BufferPool } from "../../pool/buffers.ts";
import { chunkBufferBytes, ChunkPool } from "../../pool/chunk_pool.ts";
import { type Context, DEFAULT_JOBS } from "../context.ts";

/** Chunk buffers: those that the chunker holds open, those at work, and a few to open base chunks in. */
export const OPEN_CHUNKS = 4;
const BUFFERS_PER_THREAD = 1;
const EXTRA_BUFFERS = 2;

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
