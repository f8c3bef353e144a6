/** Standard output, a FIFO or a character device as a target: bytes in order, nothing can be read back. */
import { VarveError } from "../errors.ts";
import { wasClosed } from "../os/closed_stream.ts";
import { closeFd, syncFd, systemCode, writeFully } from "../os/fd.ts";
import type { Target } from "./target.ts";

const STDOUT_FD = 1;
const ZERO_PIECE_BYTES = 1 << 20;

export class StreamTarget implements Target {
  readonly name: string;
  readonly empty = false;
  readonly readableBytes = 0;
  readonly gaps = "zeros";
  readonly file = undefined;
  readonly #fd: number;
  readonly #signal: AbortSignal;
  #position: number;
  #failure: VarveError | undefined;
  #closed = false;

  /** `startOffset`: where in the volume its first byte lies. */
  constructor(fd: number, options: { name: string; startOffset: number; signal: AbortSignal }) {
    this.#fd = fd;
    this.#position = options.startOffset;
    this.#signal = options.signal;
    this.name = options.name;
  }

  read(): Promise<void> {
    return Promise.reject(new VarveError("failed", `Cannot read "${this.name}": it is a stream`));
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    if (offset !== this.#position) {
      throw new VarveError(
        "failed",
        `Cannot write "${this.name}" at offset ${offset}: its position is ${this.#position}`,
      );
    }
    this.#position += bytes.length;
    await this.#do("write", () => unlessAborted(writeFully(this.#fd, bytes, null), this.#signal));
  }

  async zero(offset: number, length: number): Promise<void> {
    const zeros = new Uint8Array(Math.min(length, ZERO_PIECE_BYTES));
    for (let done = 0; done < length; done += zeros.length) {
      await this.write(offset + done, zeros.subarray(0, Math.min(zeros.length, length - done)));
    }
  }

  /** Does what it can: a pipe has no stable storage, a redirected file has. */
  async sync(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    await this.#do("sync", () =>
      syncFd(this.#fd).catch((error) => {
        if (systemCode(error) !== "EINVAL") throw error;
      }));
  }

  dropCache(): Promise<void> {
    return this.read();
  }

  async close(): Promise<void> {
    if (this.#closed || this.#fd === STDOUT_FD) return;
    this.#closed = true;
    await this.#do("close", () => closeFd(this.#fd));
  }

  async #do(action: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      if (this.#signal.aborted) throw this.#signal.reason;
      const state = systemCode(cause) === "EPIPE" ? ": its reader has exited" : "";
      const failure = new VarveError("failed", `Cannot ${action} "${this.name}"${state}`, { cause });
      this.#failure ??= failure;
      throw failure;
    }
  }
}

/** Throws `failed` where it is closed. */
export function standardOutput(options: { startOffset: number; signal: AbortSignal }): StreamTarget {
  if (wasClosed(STDOUT_FD)) {
    throw new VarveError("failed", 'Cannot restore to "standard output": it is closed');
  }
  return new StreamTarget(STDOUT_FD, { name: "standard output", ...options });
}

/** A write to a full pipe cannot be cancelled: on abort it is left behind, and the process ends under it. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    work.catch(() => {});
  }
}
