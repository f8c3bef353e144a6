/**
 * Reads a file descriptor for the sources: small reads out of a buffer, large ones straight into the caller's array.
 * Every read runs in the runtime's thread pool, so that a slow pipe holds up nothing else.
 */
import fs from "node:fs";
import { VarveError } from "../errors.ts";

/** Reads of at least this go past the buffer. */
const BUFFER_BYTES = 128 * 1024;
const STDIN_FD = 0;

export interface ByteReaderOptions {
  /** For messages. */
  name: string;
  signal: AbortSignal;
  /** Read from this place on, without the descriptor's own: for files and devices, and needed for `skip`. */
  position?: number;
  /** Runs once, at end of file, before anybody hears of it; what it throws is thrown by the read. */
  atEnd?: () => Promise<void>;
}

/** One read at a time. */
export class ByteReader {
  readonly name: string;
  readonly #fd: number;
  readonly #signal: AbortSignal;
  readonly #atEnd: (() => Promise<void>) | undefined;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #start = 0;
  #end = 0;
  #position: number | null;
  #offset = 0;
  #ended = false;
  #closed = false;
  /** Ends the waiting for the read that is under way. */
  #abandon: ((reason: unknown) => void) | undefined;
  #reading = false;

  /** Owns `fd` from now on (standard input stays open). */
  constructor(fd: number, options: ByteReaderOptions) {
    this.#fd = fd;
    this.name = options.name;
    this.#signal = options.signal;
    this.#position = options.position ?? null;
    this.#atEnd = options.atEnd;
    options.signal.addEventListener("abort", this.#onAbort);
  }

  /** Bytes handed out or skipped so far. */
  get offset(): number {
    return this.#offset;
  }

  /** The next `sizeBytes` (128 KiB at most), fewer at the end. The array is good until the next call. */
  async take(sizeBytes: number): Promise<Uint8Array> {
    while (this.#end - this.#start < sizeBytes && !this.#ended) await this.#refill();
    const end = Math.min(this.#start + sizeBytes, this.#end);
    const bytes = this.#buffer.subarray(this.#start, end);
    this.#start = end;
    this.#offset += bytes.length;
    return bytes;
  }

  /** Fills `into`, which may be shared memory. Resolves to the bytes that there were: fewer only at the end. */
  async fill(into: Uint8Array): Promise<number> {
    let filled = this.#drain(into);
    while (filled < into.length && !this.#ended) {
      const rest = into.subarray(filled);
      if (rest.length < BUFFER_BYTES) {
        await this.#refill();
        filled += this.#drain(rest);
      } else {
        const sizeBytes = await this.#read(rest);
        this.#offset += sizeBytes;
        filled += sizeBytes;
      }
    }
    return filled;
  }

  /** Leaves out the next bytes, unread where they are not in the buffer yet. Only with a `position`. */
  skip(sizeBytes: number): void {
    const buffered = Math.min(sizeBytes, this.#end - this.#start);
    this.#start += buffered;
    this.#position = (this.#position ?? 0) + sizeBytes - buffered;
    this.#offset += sizeBytes;
  }

  /** Safe at any time and twice. A read under way fails; its descriptor is closed once the system lets go of it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#abandon?.(this.#closedError());
    this.#closeWhenIdle();
  }

  #drain(into: Uint8Array): number {
    const sizeBytes = Math.min(into.length, this.#end - this.#start);
    into.set(this.#buffer.subarray(this.#start, this.#start + sizeBytes));
    this.#start += sizeBytes;
    this.#offset += sizeBytes;
    return sizeBytes;
  }

  async #refill(): Promise<void> {
    this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    this.#end += await this.#read(this.#buffer.subarray(this.#end));
  }

  async #read(into: Uint8Array): Promise<number> {
    const sizeBytes = await this.#readOnce(into);
    if (this.#position !== null) this.#position += sizeBytes;
    if (sizeBytes === 0) {
      await this.#atEnd?.();
      this.#ended = true;
    }
    return sizeBytes;
  }

  /**
   * The system cannot be made to give up a read. When the operator ends the work, only the waiting for it ends; the
   * bytes may still arrive in `into` later.
   */
  #readOnce(into: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#signal.aborted) return reject(this.#signal.reason);
      if (this.#closed) return reject(this.#closedError());
      this.#abandon = reject;
      this.#reading = true;
      fs.read(this.#fd, into, 0, into.length, this.#position, (error, sizeBytes) => {
        this.#reading = false;
        this.#abandon = undefined;
        if (this.#closed) this.#closeWhenIdle();
        if (error) reject(this.#readError(error));
        else resolve(sizeBytes);
      });
    });
  }

  /** The number of a descriptor that closes under a read could be another file's by the time it is used. */
  #closeWhenIdle(): void {
    if (!this.#reading && this.#fd !== STDIN_FD) fs.closeSync(this.#fd);
  }

  readonly #onAbort = (): void => this.#abandon?.(this.#signal.reason);

  #readError(cause: Error): VarveError {
    const offset = this.#position ?? this.#offset + this.#end - this.#start;
    const what = `"${this.name}" at offset ${offset}`;
    return new VarveError("failed", `Cannot read ${what}`, { cause });
  }

  #closedError(): VarveError {
    return new VarveError("failed", `Cannot read "${this.name}": it is closed`);
  }
}
