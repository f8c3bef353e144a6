/** The worker threads: Piscina with the chunk tasks, and what the engine calls of it. */
import { Piscina } from "piscina";
import type { ProjectKeys } from "../../codec/keys.ts";
import { DamageError, type ErrorCode, VarveError } from "../../errors.ts";
import type { Range } from "../../util/ranges.ts";
import type { ObjectRef } from "../../format/layout.ts";
import { chunkName } from "../../format/layout.ts";
import { leavesBytes } from "../../format/limits.ts";
import type { BlockSet } from "../../format/patch.ts";
import { noteAllocation } from "../../os/heap.ts";
import type { SharedBuffer } from "./buffers.ts";
import type { ApplyResult, HashResult, OpenResult, SealResult, Task, TaskResult } from "./tasks.ts";

/** Where the handler is: set to its place in the compiled file by scripts/build.ts. */
declare const VARVE_CHUNK_WORKER: string | undefined;

/** A chunk in shared memory: the buffer holds the content, and behind `chunkBytes` its leaves. */
export interface ChunkBuffer {
  buffer: SharedBuffer;
  length: number;
}

/** An object as the store has it, in the first `sealedLength` bytes of `sealed`; `key` is how errors call it. */
export interface SealedObject {
  ref: ObjectRef;
  sealed: SharedBuffer;
  sealedLength: number;
  keys: ProjectKeys;
  key: string;
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

  /**
   * The id of the chunk, its leaves written behind it; `undefined` where it is all zeros. The leaves of the ranges
   * `known`, of whole blocks, are there already, and their bytes are not looked at.
   */
  async hash(chunk: ChunkBuffer, keys: ProjectKeys, known: readonly Range[] = []): Promise<HashResult> {
    return await this.#run({ op: "hash", ...this.#parts(chunk), known, keys }) as HashResult;
  }

  /** Seals a hashed chunk for `ref` into `sealed`, whole or as a patch; the bytes of the object. */
  async seal(
    chunk: ChunkBuffer,
    options: {
      ref: ObjectRef;
      patch?: { base: ObjectRef; blocks: BlockSet } | undefined;
      sealed: SharedBuffer;
      keys: ProjectKeys;
    },
  ) {
    const { patch } = options;
    return await this.#run({
      op: "seal",
      ...this.#parts(chunk),
      patch: patch && { base: patch.base, bits: patch.blocks.bits },
      sealed: options.sealed.bytes,
      name: chunkName(options.ref),
      keyId: options.keys.id,
      dataKey: options.keys.dataKey,
    }) as SealResult;
  }

  /**
   * Opens and verifies the object of `ref` into `into`, its leaves behind it; its length. Throws `DamageError` where it is
   * not that chunk.
   */
  async open(into: SharedBuffer, object: SealedObject): Promise<number> {
    const result = await this.#run({ op: "open", ...this.#objectParts(into, object) }) as OpenResult;
    if ("length" in result) return result.length;
    throw refusal(object.key, result);
  }

  /**
   * Applies a patch to `into`, which has the leaves of the patch's base, and its content unless only the blocks in the
   * ranges `wanted` are to be written. The id of the chunk that it is then; its leaves are there too. Throws
   * `DamageError` where the object is not that patch.
   */
  async apply(into: SharedBuffer, object: SealedObject, wanted?: readonly Range[]): Promise<Uint8Array> {
    const task = { op: "apply", ...this.#objectParts(into, object), wanted } as const;
    const result = await this.#run(task) as ApplyResult;
    if ("chunkId" in result) return result.chunkId;
    throw refusal(object.key, result);
  }

  async close(): Promise<void> {
    await this.#piscina.destroy();
  }

  #parts(chunk: ChunkBuffer) {
    const { bytes } = chunk.buffer;
    return { chunk: bytes, leaves: bytes.subarray(this.#chunkBytes), length: chunk.length };
  }

  #objectParts({ bytes }: SharedBuffer, { ref, sealed, sealedLength, keys, key }: SealedObject) {
    return {
      chunk: bytes.subarray(0, this.#chunkBytes),
      leaves: bytes.subarray(this.#chunkBytes),
      sealed: sealed.bytes,
      sealedLength,
      id: ref.id,
      name: chunkName(ref),
      key,
      keys,
    };
  }

  async #run(task: Task): Promise<TaskResult> {
    if (this.#failure !== undefined) throw this.#failure;
    noteAllocation();
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

function refusal(key: string, { code, message }: { code: ErrorCode; message: string }): VarveError {
  return code === "damage" ? new DamageError(key, message) : new VarveError(code, message);
}

function workerError(cause: unknown): VarveError {
  return new VarveError("failed", "Cannot work on chunks: a worker thread failed", { cause });
}

function workerFile(): string {
  if (typeof VARVE_CHUNK_WORKER !== "undefined") return VARVE_CHUNK_WORKER;
  return new URL("../../../workers/chunk_worker.ts", import.meta.url).pathname;
}
