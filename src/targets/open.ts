/** From the name that the operator gave to a target: a file, a block device, or a stream. */
import * as fs from "node:fs";
import { devNull } from "node:os";
import { VarveError } from "../errors.ts";
import { openBlockDevice } from "./block_device.ts";
import { openFd, systemCode } from "../os/fd.ts";
import { assertCreatable } from "./new_file.ts";
import { openRegularFile } from "./regular_file.ts";
import { standardOutput, StreamTarget, unlessAborted } from "./stream.ts";
import type { Target } from "./target.ts";

export interface TargetOptions {
  /** What the target has to hold at least: the volume, or up to the end of the part that is restored. */
  sizeBytes: number;
  /** Only a part of the volume is restored, from here on; what a target has besides stays. */
  partFrom?: number | undefined;
  /** Only to compare with: nothing is made or changed. */
  readOnly?: boolean | undefined;
  /** Cut a regular file that is larger than the volume. */
  resize?: boolean | undefined;
  /** Also write to what is mounted or otherwise in use. */
  force: boolean;
  signal: AbortSignal;
}

/**
 * `name` is a path, or `-` for standard output. Throws `VarveError` when it cannot be opened, is smaller than the
 * volume (devices), larger without `resize` (files), or in use without `force`; the signal's reason when aborted.
 */
export async function openTarget(name: string, options: TargetOptions): Promise<Target> {
  if (name === "-") return standardOutput({ startOffset: options.partFrom ?? 0, signal: options.signal });
  try {
    return await openPath(name, options);
  } catch (cause) {
    if (cause instanceof VarveError) throw cause;
    throw new VarveError("failed", `Cannot restore to "${name}"`, { cause });
  }
}

async function openPath(
  name: string,
  { partFrom, readOnly = false, resize = false, ...options }: TargetOptions,
): Promise<Target> {
  const present = statIfPresent(name);
  if (present === undefined) assertCreatable(name);
  if (present === undefined || present.isFile()) {
    const presentBytes = present === undefined ? undefined : Number(present.size);
    return await openRegularFile(name, {
      ...options,
      readOnly,
      ending: partFrom !== undefined ? "kept" : resize ? "cut" : "refused",
      presentBytes,
    });
  }
  if (present.isBlockDevice()) {
    return await openBlockDevice(name, { ...options, readOnly, device: present.rdev });
  }
  if (present.isFIFO() || present.isCharacterDevice()) {
    return await openStream(name, { ...options, readOnly, startOffset: partFrom ?? 0 });
  }
  const kind = present.isDirectory() ? "a directory" : "a socket";
  throw new VarveError("failed", `Cannot restore to "${name}": it is ${kind}`);
}

/** A FIFO opens only once it has a reader: one that is not to be written to is not opened. */
async function openStream(
  name: string,
  { readOnly, startOffset, signal }: { readOnly: boolean; startOffset: number; signal: AbortSignal },
) {
  const path = readOnly ? devNull : name;
  const fd = await unlessAborted(openFd(path, fs.constants.O_WRONLY), signal);
  return new StreamTarget(fd, { name, startOffset, signal });
}

function statIfPresent(name: string): fs.BigIntStats | undefined {
  try {
    return fs.statSync(name, { bigint: true });
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
