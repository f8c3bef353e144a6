/** The sources of raw bytes: a file or block device, whose size is known, and a pipe, whose size is not. */
import fs from "node:fs/promises";
import { StreamError, VarveError } from "../errors.ts";
import { dataExtent } from "./data_extent.ts";
import type { Input } from "../os/input.ts";
import { regions } from "../os/pipes.ts";
import type { Extent, Source, VolumeDiff } from "./source.ts";

/** A pipe's bytes are handed out in pieces of this. */
const PIECE_BYTES = 1024 * 1024;

interface SizedFile {
  fd: number;
  /** The path, where it is a regular file. */
  path: string | undefined;
  /** Its size now. */
  measure(): Promise<number>;
  /** What every write to it changes, as far as the system tells. */
  look(): Promise<string>;
}

abstract class RawSource implements Source {
  protected readonly input: Input;

  constructor(input: Input) {
    this.input = input;
  }

  get name(): string {
    return this.input.reader.name;
  }

  get bytesRead(): number {
    return this.input.reader.offset;
  }

  abstract diffs(): AsyncGenerator<VolumeDiff>;

  close(): Promise<void> {
    return this.input.close();
  }

  protected error(state: string): StreamError {
    return new StreamError(`Cannot read "${this.name}": ${state}`, this.bytesRead);
  }
}

/** A regular file or block device, read by position. */
export class RawFileSource extends RawSource {
  readonly #file: SizedFile;
  readonly #sizeBytes: number;
  readonly #warn: (line: string) => void;

  /** `warn` is told where it was written to while it was read. */
  constructor(
    input: Input,
    { file, sizeBytes, warn }: { file: SizedFile; sizeBytes: number; warn: (line: string) => void },
  ) {
    super(input);
    this.#file = file;
    this.#sizeBytes = sizeBytes;
    this.#warn = warn;
  }

  get file(): string | undefined {
    return this.#file.path;
  }

  override async *diffs(): AsyncGenerator<VolumeDiff> {
    const sizeBytes = this.#sizeBytes;
    const before = await this.#file.look();
    yield { fromSnapshot: undefined, toSnapshot: undefined, sizeBytes, extents: () => this.#extents() };
    // Where its tail was a hole, nothing was read that could have told.
    if (await this.#file.measure() < sizeBytes) throw this.#shrunk();
    if (await this.#file.look() === before) return;
    this.#warn(
      `"${this.name}" was written to while it was being read; the backup may be inconsistent`,
    );
  }

  async *#extents(): AsyncGenerator<Extent> {
    for (const { kind, offset, length } of regions(this.#file.fd, this.#sizeBytes)) {
      this.input.reader.skip(offset - this.bytesRead);
      if (kind === "hole") yield { kind: "zero", offset, length };
      else yield* dataExtent({ offset, length }, (into) => this.#read(into));
    }
    this.input.reader.skip(this.#sizeBytes - this.bytesRead);
  }

  async #read(into: Uint8Array): Promise<void> {
    if (await this.input.reader.fill(into) < into.length) throw this.#shrunk();
  }

  #shrunk(): StreamError {
    return this.error(`it shrank below ${this.#sizeBytes} bytes while it was being read`);
  }
}

/** A pipe: its size is known at its end. */
export class RawPipeSource extends RawSource {
  override async *diffs(): AsyncGenerator<VolumeDiff> {
    const diff: VolumeDiff = {
      fromSnapshot: undefined,
      toSnapshot: undefined,
      sizeBytes: undefined,
      extents: () => this.#extents(diff),
    };
    yield diff;
  }

  async *#extents(diff: VolumeDiff): AsyncGenerator<Extent> {
    const piece = new Uint8Array(PIECE_BYTES);
    for (;;) {
      const offset = this.bytesRead;
      const length = await this.input.reader.fill(piece);
      let taken = 0;
      const copy = (into: Uint8Array) => {
        into.set(piece.subarray(taken, taken += into.length));
        return Promise.resolve();
      };
      if (length > 0) yield* dataExtent({ offset, length }, copy);
      if (length < PIECE_BYTES) break;
    }
    if (this.bytesRead === 0) throw this.error("it is empty");
    diff.sizeBytes = this.bytesRead;
  }
}

/**
 * Bytes of the block device with the number `rdev`, as the kernel tells them.
 *
 * @throws {VarveError} where the kernel has no size for it
 */
export async function blockDeviceBytes(rdev: number, name: string): Promise<number> {
  try {
    return Number(await fs.readFile(`/sys/dev/block/${deviceNumber(rdev)}/size`, "utf8")) * 512;
  } catch (cause) {
    throw new VarveError("failed", `Cannot read "${name}": the size of the device is unknown`, { cause });
  }
}

/** `MAJOR:MINOR`. The layout of a Linux dev_t: 12 and 20 bits, the minor's upper ones above the major. */
export function deviceNumber(rdev: number): string {
  const major = Math.floor(rdev / 256) % 4096;
  const minor = rdev % 256 + Math.floor(rdev / 2 ** 20) * 256;
  return `${major}:${minor}`;
}
