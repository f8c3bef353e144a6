/** The worker threads: Piscina with the chunk tasks, and what the engine calls of it. */
import { Piscina } from "piscina";
import type { ProjectKey } from "../codec/keys.ts";
import { DamageError, VarveError } from "../errors.ts";
import type { ObjectRef } from "../format/layout.ts";
import { chunkName } from "../format/layout.ts";
import { leavesBytes } from "../format/limits.ts";
import type { SharedBuffer } from "./buffers.ts";
import type { HashResult, OpenResult, SealResult, Task, TaskResult } from "./tasks.ts";

/** Where the handler is: set to its place in the compiled file by scripts/build.ts. */
declare const VARVE_CHUNK_WORKER: string | undefined;

/**
 * Between two full collections of this thread's garbage, about 20 ms each. The runtime takes the shared buffers for
 * part of its heap, and would let garbage grow until it is as large as they are.
 */
const TASKS_PER_COLLECTION = 512;

/** A chunk in shared memory: the buffer holds the content, and behind `chunkBytes` its leaves. */
export interface ChunkBuffer {
  buffer: SharedBuffer;
  length: number;
}

/** Bytes of a buffer for a chunk and its leaves. */
export function chunkBufferBytes(chunkBytes: number): number {
  return chunkBytes + leavesBytes(chunkBytes);
}

export class ChunkPool {
  readonly #piscina: Piscina;
  readonly #chunkBytes: number;
  /** Ends of the tasks under way, to be called when a worker dies. */
  readonly #underWay = new Set<(error: unknown) => void>();
  #failure: VarveError | undefined;
  #tasks = 0;

  constructor(options: { threads: number; chunkBytes: number }) {
    this.#chunkBytes = options.chunkBytes;
    this.#piscina = new Piscina({
      filename: workerFile(),
      minThreads: options.threads,
      maxThreads: options.threads,
      maxQueue: Infinity,
    });
    this.#piscina.on("error", (cause) => this.#fail(cause));
  }

  /** The id of the chunk, its leaves written behind it; `undefined` where it is all zeros. */
  async hash(chunk: ChunkBuffer, idKey: Uint8Array): Promise<HashResult> {
    return await this.#run({ op: "hash", ...this.#parts(chunk), idKey }) as HashResult;
  }

  /** Seals a hashed chunk for `ref` into `sealed`; the bytes of the object. */
  async seal(
    chunk: ChunkBuffer,
    options: { ref: ObjectRef; sealed: SharedBuffer; keys: ProjectKey; level: number },
  ) {
    return await this.#run({
      op: "seal",
      ...this.#parts(chunk),
      sealed: options.sealed.bytes,
      name: chunkName(options.ref),
      level: options.level,
      keyId: options.keys.id,
      dataKey: options.keys.dataKey,
    }) as SealResult;
  }

  /** Opens and verifies the object of `ref` into `into`; its length. Throws `DamageError` where it is not that chunk. */
  async open(
    into: SharedBuffer,
    options: { ref: ObjectRef; sealed: SharedBuffer; sealedLength: number; keys: ProjectKey; key: string },
  ): Promise<number> {
    const result = await this.#run({
      op: "open",
      sealed: options.sealed.bytes,
      sealedLength: options.sealedLength,
      chunk: into.bytes.subarray(0, this.#chunkBytes),
      id: options.ref.id,
      name: chunkName(options.ref),
      key: options.key,
      keys: options.keys,
    }) as OpenResult;
    if ("length" in result) return result.length;
    if (result.code === "damage") throw new DamageError(options.key, result.message);
    throw new VarveError(result.code, result.message);
  }

  async close(): Promise<void> {
    await this.#piscina.destroy();
  }

  #parts(chunk: ChunkBuffer) {
    const { bytes } = chunk.buffer;
    return { chunk: bytes, leaves: bytes.subarray(this.#chunkBytes), length: chunk.length };
  }

  async #run(task: Task): Promise<TaskResult> {
    if (this.#failure !== undefined) throw this.#failure;
    if (++this.#tasks % TASKS_PER_COLLECTION === 0) Bun.gc(true);
    return await new Promise((resolve, reject) => {
      this.#underWay.add(reject);
      this.#piscina.run(task).then(resolve, (cause) => reject(workerError(cause))).finally(() =>
        this.#underWay.delete(reject)
      );
    });
  }

  #fail(cause: unknown): void {
    this.#failure = workerError(cause);
    for (const reject of this.#underWay) reject(this.#failure);
  }
}

function workerError(cause: unknown): VarveError {
  return new VarveError("failed", "Cannot work on chunks: a worker thread failed", { cause });
}

function workerFile(): string {
  if (typeof VARVE_CHUNK_WORKER !== "undefined") return VARVE_CHUNK_WORKER;
  return new URL("../../workers/chunk_worker.ts", import.meta.url).pathname;
}
