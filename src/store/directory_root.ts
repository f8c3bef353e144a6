/**
 * The directory that a store lives in. When it is unmounted meanwhile, the empty mount point must not look like a
 * store from which every object is gone, nor take the next chunks.
 */
import type { BigIntStats } from "node:fs";
import { stat } from "node:fs/promises";
import { StoreError, type VarveError } from "../errors.ts";
import { directoryError, errnoOf } from "./directory_errors.ts";

export class DirectoryRoot {
  readonly path: string;
  #identity: string | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Throws a `StoreError` when the directory is no longer the one that was first seen. It may be absent at first. */
  async check(): Promise<void> {
    const identity = await this.#identify();
    if (this.#identity !== undefined && this.#identity !== identity) {
      throw new StoreError(`Cannot use "${this.path}": the directory was unmounted or replaced`, {
        retryable: false,
      });
    }
    this.#identity = identity;
  }

  async #identify(): Promise<string | undefined> {
    try {
      return folderIdentity(await stat(this.path, { bigint: true }));
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw awayError(directoryError("open", this.path, error));
    }
  }
}

/** So a network file system answers whose server does not: what concerns the root concerns all, and may pass. */
function awayError(failed: VarveError): VarveError {
  if (errnoOf(failed.cause) !== "EIO") return failed;
  return new StoreError(failed.message, { retryable: true, cause: failed.cause });
}

/** Tells one folder from another that takes its place later: an inode's number is soon used again, so also its birth. */
export function folderIdentity(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`;
}
