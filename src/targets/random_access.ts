/**
 * A target that can be read and written anywhere: what a regular file and a block device have in common. The two
 * openers differ in what they check first and in how they end.
 */
import * as fs from "node:fs";
import { VarveError } from "../errors.ts";
import type { DirectFile } from "../os/direct_file.ts";
import { syncFd } from "../os/fd.ts";
import { dropPages, punchHole } from "../os/punch_hole.ts";
import type { Target } from "./target.ts";

/** Zeros are written in pieces of this size where no hole can be punched. */
const ZERO_PIECE_BYTES = 1 << 20;

export interface RandomAccessOptions {
  name: string;
  empty: boolean;
  readableBytes: number;
  /** The path, where it is a regular file. */
  file?: string;
  /** Refuse to go on once something else wrote to the file. */
  alone?: boolean;
  /** Runs before the file is synced: what gives it its final size. */
  beforeSync?: (fd: number) => Promise<void>;
  /** Runs after the file is synced: what makes its name durable. */
  afterSync?: () => Promise<void>;
  /** `false` when the range could not be punched; replaced by tests. */
  punch?: typeof punchHole;
}

export class RandomAccessTarget implements Target {
  readonly name: string;
  readonly empty: boolean;
  readonly readableBytes: number;
  readonly gaps = "kept";
  readonly #handle: DirectFile;
  readonly #options: RandomAccessOptions;
  #failure: unknown;
  #closed = false;
  /** When the file was changed by us last. */
  #lastChange: string | undefined;

  constructor(handle: DirectFile, options: RandomAccessOptions) {
    this.#handle = handle;
    this.#options = options;
    this.name = options.name;
    this.empty = options.empty;
    this.readableBytes = options.readableBytes;
    this.#lastChange = this.#changeTimes();
  }

  /** The path, where it is a regular file that nothing else wrote to since this target did. */
  get file(): string | undefined {
    return this.#changeTimes() === this.#lastChange ? this.#options.file : undefined;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    const action = `read "${this.name}" at offset ${offset}`;
    const count = await attempt(action, () => this.#handle.read(into, offset));
    if (count === into.length) return;
    throw new VarveError("failed", `Cannot ${action}: it ends at ${offset + count}`);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#change(`write "${this.name}" at offset ${offset}`, () => this.#handle.write(bytes, offset));
  }

  async zero(offset: number, length: number): Promise<void> {
    if (length === 0) return;
    let punched = false;
    await this.#change(`zero "${this.name}" at offset ${offset}`, () => {
      punched = (this.#options.punch ?? punchHole)(this.#handle.fd, { offset, length });
      return Promise.resolve();
    });
    if (punched) return;
    const zeros = new Uint8Array(Math.min(length, ZERO_PIECE_BYTES));
    for (let done = 0; done < length; done += zeros.length) {
      await this.write(offset + done, zeros.subarray(0, Math.min(zeros.length, length - done)));
    }
  }

  /** Throws the first error of any write before it: Linux tells some of them only once. */
  async sync(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    await this.#change(`sync "${this.name}"`, async () => {
      await this.#options.beforeSync?.(this.#handle.fd);
      await syncFd(this.#handle.fd);
      await this.#options.afterSync?.();
    });
  }

  dropCache(): Promise<void> {
    if (dropPages(this.#handle.fd)) return Promise.resolve();
    return Promise.reject(
      new VarveError("failed", `Cannot read "${this.name}" past the page cache: the system refused it`),
    );
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await attempt(`close "${this.name}"`, () => this.#handle.close());
  }

  async #change(action: string, work: () => Promise<void>): Promise<void> {
    try {
      this.#assertNoOtherWrites();
      await attempt(action, work);
      this.#lastChange = this.#changeTimes();
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  /** A file that others write to while it is restored must not be called good. */
  #assertNoOtherWrites(): void {
    if (this.#options.alone !== true || this.#changeTimes() === this.#lastChange) return;
    throw new VarveError("failed", `Cannot restore to "${this.name}": another process wrote to it`);
  }

  #changeTimes(): string | undefined {
    if (this.#options.file === undefined || this.#closed) return undefined;
    const { mtimeNs, ctimeNs, size } = fs.fstatSync(this.#handle.fd, { bigint: true });
    return `${mtimeNs} ${ctimeNs} ${size}`;
  }
}

async function attempt<T>(action: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new VarveError("failed", `Cannot ${action}`, { cause });
  }
}
