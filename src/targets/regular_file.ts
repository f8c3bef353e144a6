/**
 * A regular file as a target. A new one is made sparse; one that exists is kept, compared and changed in place. In
 * the end it has exactly the volume's size: a restored image is the point, not the point and what was there before.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { VarveError } from "../errors.ts";
import { DirectFile } from "../os/direct_file.ts";
import { openFd, syncFd, truncateFd } from "../os/fd.ts";
import { syncFolder } from "../os/sync_folder.ts";
import { describeFileUse } from "../os/in_use.ts";
import { RandomAccessTarget } from "./random_access.ts";
import type { Target } from "./target.ts";

/** Nobody but the owner may read a volume's content. */
const NEW_FILE_MODE = 0o600;

interface FileOptions {
  sizeBytes: number;
  /** What becomes of bytes beyond `sizeBytes`; a smaller file is grown in any case. */
  ending: "kept" | "cut" | "refused";
  force: boolean;
  /** Only to compare with: nothing is made, grown or cut. */
  readOnly: boolean;
  /** Of the file that is there. */
  presentBytes: number | undefined;
}

/**
 * Throws `VarveError` when the file cannot be opened or made, is larger than it may be, or is in use as a loop device
 * without `force`.
 */
export async function openRegularFile(name: string, options: FileOptions): Promise<Target> {
  if (!options.readOnly && options.presentBytes !== undefined && !options.force) assertFileUnused(name);
  assertNotLarger(name, options);
  if (options.readOnly) return await openToCompare(name, options);
  const presentBytes = options.presentBytes ?? 0;
  const fd = await openFd(name, fs.constants.O_RDWR | fs.constants.O_CREAT, NEW_FILE_MODE);
  // Pages that somebody has mapped and written to are clean from here on: a later write to them changes the file's times.
  if (options.presentBytes !== undefined) await syncFd(fd);
  const isResized = options.ending === "cut" || presentBytes < options.sizeBytes;
  return new RandomAccessTarget(await DirectFile.over(fd, fs.constants.O_RDWR), {
    name,
    file: name,
    alone: !options.force,
    empty: presentBytes === 0,
    readableBytes: presentBytes,
    // Only now: a restore that fails has not cut off what it did not replace, and a file that was recorded looks as it did.
    ...(isResized ? { beforeSync: (fd) => truncateFd(fd, options.sizeBytes) } : {}),
    ...(options.presentBytes === undefined ? { afterSync: () => makeNameDurable(name) } : {}),
  });
}

/** Where the file system cannot do it by itself, the name becomes durable when it likes; the content is. */
async function makeNameDurable(name: string): Promise<void> {
  await syncFolder(path.dirname(name));
}

/** A file that is not there has nothing to compare with. */
async function openToCompare(name: string, { presentBytes }: FileOptions): Promise<Target> {
  const fd = await openFd(presentBytes === undefined ? "/dev/null" : name, fs.constants.O_RDONLY);
  const readableBytes = presentBytes ?? 0;
  const handle = await DirectFile.over(fd, fs.constants.O_RDONLY);
  return new RandomAccessTarget(handle, { name, file: name, empty: readableBytes === 0, readableBytes });
}

/** It may be another disk: what lies behind the volume's end would be lost. */
function assertNotLarger(name: string, { presentBytes = 0, sizeBytes, ending }: FileOptions): void {
  if (ending !== "refused" || presentBytes <= sizeBytes) return;
  throw new VarveError(
    "failed",
    `Cannot restore to "${name}": it has ${presentBytes} bytes, more than the volume (${sizeBytes}); use --resize to truncate it`,
  );
}

/** Throws `VarveError` if a loop device uses the file. */
export function assertFileUnused(name: string): void {
  const use = describeFileUse(name);
  if (use === undefined) return;
  throw new VarveError(
    "failed",
    `Cannot restore to "${name}": it is ${use}; use --force to write to it anyway`,
  );
}
