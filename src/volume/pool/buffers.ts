/** Fixed sets of shared buffers: all the memory that chunks may take, however large the volume and slow the store. */

/** One buffer over shared memory, so that workers see it without a copy. */
export interface SharedBuffer {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  release(): void;
}

export class BufferPool {
  readonly #bufferBytes: number;
  #free: Uint8Array<SharedArrayBuffer>[] = [];
  #unmade: number;
  #waiting: ((bytes: Uint8Array<SharedArrayBuffer>) => void)[] = [];

  /** `count` buffers of `bufferBytes` each, made when first needed. */
  constructor(count: number, bufferBytes: number) {
    this.#unmade = count;
    this.#bufferBytes = bufferBytes;
  }

  /** A free buffer, its content undefined; waits for one in the order of asking. */
  async acquire(): Promise<SharedBuffer> {
    const bytes = this.#take() ??
      await new Promise<Uint8Array<SharedArrayBuffer>>((give) => this.#waiting.push(give));
    let held = true;
    return {
      bytes,
      release: () => {
        if (held) this.#give(bytes);
        held = false;
      },
    };
  }

  #take(): Uint8Array<SharedArrayBuffer> | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#unmade === 0) return free;
    this.#unmade--;
    // Written to: a run takes its memory when it begins, and not one day when a chunk does not compress.
    return new Uint8Array(new SharedArrayBuffer(this.#bufferBytes)).fill(0);
  }

  #give(bytes: Uint8Array<SharedArrayBuffer>): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(bytes);
    else next(bytes);
  }
}
