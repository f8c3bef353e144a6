/**
 * A target that is a stream for `rbd import-diff`: what a restore writes becomes `w` and `z` records, and the end record
 * comes only once all of it was written. Format: Ceph's doc/dev/rbd-diff.rst, version 1.
 */
import * as fs from "node:fs";
import { devNull } from "node:os";
import { VarveError } from "../errors.ts";
import { concat, utf8 } from "../util/bytes.ts";
import { openFd } from "../os/fd.ts";
import { assertCreatable } from "./new_file.ts";
import { assertFileUnused } from "./regular_file.ts";
import { standardOutput, StreamTarget, unlessAborted } from "./stream.ts";
import type { Target } from "./target.ts";

export interface DiffOptions {
  sizeBytes: number;
  /** The snapshot that the image still has; without it the image has to be empty. */
  fromSnapshot: Uint8Array | undefined;
  /** The snapshot that `rbd import-diff` makes in the end. */
  toSnapshot: Uint8Array | undefined;
}

export interface RbdDiffOptions extends DiffOptions {
  /** Only to count what it would hold: nothing is made or written. */
  dryRun: boolean;
  /** Also overwrite a file that has content, or that a loop device uses. */
  force: boolean;
  signal: AbortSignal;
}

/**
 * `name` is a new or empty file, a FIFO, or `-` for standard output. Throws `VarveError` for a block device, whose content a
 * stream of differences would destroy, and for a file that has content without `force`.
 */
export async function openRbdDiffTarget(name: string, options: RbdDiffOptions): Promise<Target> {
  return new RbdDiffTarget(await openOutput(name, options), options);
}

async function openOutput(name: string, { dryRun, force, signal }: RbdDiffOptions): Promise<StreamTarget> {
  if (name === "-") return standardOutput({ startOffset: 0, signal });
  const { O_WRONLY, O_CREAT, O_TRUNC } = fs.constants;
  try {
    const present = fs.statSync(name, { throwIfNoEntry: false });
    if (present === undefined) assertCreatable(name);
    else assertWritable(name, { present, force });
    const flags = O_WRONLY | (present === undefined ? O_CREAT : present.isFile() ? O_TRUNC : 0);
    const path = dryRun ? devNull : name;
    return new StreamTarget(await unlessAborted(openFd(path, flags, 0o600), signal), {
      name,
      startOffset: 0,
      signal,
    });
  } catch (cause) {
    if (cause instanceof VarveError) throw cause;
    throw new VarveError("failed", `Cannot write the stream "${name}"`, { cause });
  }
}

function assertWritable(name: string, { present, force }: { present: fs.Stats; force: boolean }): void {
  if (present.isBlockDevice()) {
    throw new VarveError(
      "failed",
      `Cannot restore to "${name}": it is a block device; write the stream to a file, a FIFO or standard output, ` +
        `or use --format raw`,
    );
  }
  if (!present.isFile() || force) return;
  assertFileUnused(name);
  if (present.size === 0) return;
  throw new VarveError(
    "failed",
    `Cannot restore to "${name}": it has ${present.size} bytes; use --force to overwrite it`,
  );
}

/** Begins its stream with the first record: where nothing can be restored, nothing is written. */
export class RbdDiffTarget implements Target {
  readonly name: string;
  readonly empty: boolean;
  readonly readableBytes = 0;
  readonly gaps = "refused";
  readonly file = undefined;
  readonly #stream: Target;
  readonly #options: DiffOptions;
  /** Of the stream. */
  #position = 0;
  /** Zeros that were not written yet: neighbours become one record. */
  #zeros = { offset: 0, length: 0 };

  constructor(stream: Target, options: DiffOptions) {
    this.#stream = stream;
    this.#options = options;
    this.name = stream.name;
    this.empty = options.fromSnapshot === undefined;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#stream.read(offset, into);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#flushZeros();
    await this.#put(numberRecord("w", offset, bytes.length));
    await this.#put(bytes);
  }

  async zero(offset: number, length: number): Promise<void> {
    if (this.#zeros.offset + this.#zeros.length !== offset) {
      await this.#flushZeros();
      this.#zeros.offset = offset;
    }
    this.#zeros.length += length;
  }

  async sync(): Promise<void> {
    await this.#flushZeros();
    await this.#put(utf8("e"));
    await this.#stream.sync();
  }

  dropCache(): Promise<void> {
    return this.#stream.dropCache();
  }

  async close(): Promise<void> {
    await this.#stream.close();
  }

  async #flushZeros(): Promise<void> {
    const { offset, length } = this.#zeros;
    if (length > 0) await this.#put(numberRecord("z", offset, length));
    this.#zeros = { offset: 0, length: 0 };
  }

  async #put(bytes: Uint8Array): Promise<void> {
    if (this.#position === 0) await this.#append(beginning(this.#options));
    await this.#append(bytes);
  }

  async #append(bytes: Uint8Array): Promise<void> {
    const at = this.#position;
    this.#position += bytes.length;
    await this.#stream.write(at, bytes);
  }
}

function beginning({ fromSnapshot, toSnapshot, sizeBytes }: DiffOptions): Uint8Array {
  return concat([
    utf8("rbd diff v1\n"),
    ...fromSnapshot === undefined ? [] : [snapshotRecord("f", fromSnapshot)],
    ...toSnapshot === undefined ? [] : [snapshotRecord("t", toSnapshot)],
    numberRecord("s", sizeBytes),
  ]);
}

function snapshotRecord(tag: string, name: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, name.length, true);
  return concat([utf8(tag), length, name]);
}

function numberRecord(tag: string, ...numbers: number[]): Uint8Array {
  const record = new Uint8Array(1 + 8 * numbers.length);
  record.set(utf8(tag));
  numbers.forEach((number, i) => new DataView(record.buffer).setBigUint64(1 + 8 * i, BigInt(number), true));
  return record;
}
