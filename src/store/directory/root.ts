/**
 * The directory that a store lives in. When it is unmounted meanwhile, the empty mount point must not look like a
 * store from which every object is gone, nor take the next chunks.
 */
import type { BigIntStats } from "node:fs";
import { StoreError, type VarveError } from "../../errors.ts";
import { Folder } from "../../os/folder.ts";
import { directoryError, errnoOf } from "./errors.ts";

export class DirectoryRoot {
  readonly path: string;
  #identity: string | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Throws a `StoreError` when the directory is no longer the one that was first seen. It may be absent at first. */
  async check(): Promise<void> {
    try {
      using _ = await this.open();
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }

  /** The directory itself. Throws a `StoreError` as `check` does, and ENOENT as long as it was never there. */
  async open(): Promise<Folder> {
    const { folder, identity } = await this.#look();
    if (this.#identity === undefined || this.#identity === identity) {
      this.#identity = identity;
      if (folder !== undefined) return folder;
      throw Object.assign(new Error("the directory does not exist"), { code: "ENOENT" });
    }
    folder?.[Symbol.dispose]();
    throw new StoreError(`Cannot use "${this.path}": the directory was unmounted or replaced`, {
      retryable: false,
    });
  }

  /** A folder below it, looked at `again` where a look has failed. Throws as `open` and `Folder.enter` do. */
  async folder(path: string, { again = false } = {}): Promise<Folder> {
    using root = await this.open();
    const folder = await root.enter(path);
    if (again) await folder.refresh();
    return folder;
  }

  async #look(): Promise<{ folder?: Folder; identity?: string }> {
    let folder: Folder | undefined;
    try {
      folder = await Folder.open(this.path);
      return { folder, identity: folderIdentity(await folder.stat()) };
    } catch (error) {
      folder?.[Symbol.dispose]();
      if (errnoOf(error) === "ENOENT") return {};
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
