/**
 * Durable changes of a directory: temporary file, write, fsync, rename, fsync of the folder and of every folder above
 * it that is new. Part of the directory store; the order follows what POSIX leaves open about rename and power loss.
 */
import { link, lstat, mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Folder } from "../../os/folder.ts";
import { syncFolder } from "../../os/sync_folder.ts";
import { StoreError } from "../../errors.ts";
import { errnoOf, isAbsent } from "./errors.ts";
import type { PutOptions } from "../store.ts";
import { type DirectoryRoot, folderIdentity } from "./root.ts";
import { removeLeftovers, temporaryName } from "./leftovers.ts";

/** The folder of unfinished writes, below the root: no key may begin with it. */
export const TEMPORARY_FOLDER = "tmp";
/** What a rename onto a folder ends with. */
const IN_THE_WAY = new Set(["EISDIR", "ENOTEMPTY", "EEXIST"]);
/** What a hard link ends with on file systems without them: vfat, exFAT, some of FUSE and CIFS. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EMLINK"]);
/** How often another process may delete the emptied folder between its making and the rename into it. */
const RENAME_ATTEMPTS_MAX = 16;
/** Folders remembered as durable; beyond that they are synced once more, which costs time and nothing else. */
const DURABLE_FOLDERS_MAX = 65_536;

/** Nobody but the owner reads a repository, whatever the umask: a project may be without a passphrase. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

/** The folder that holds the object of a key, as `DirectoryRoot.folder` takes it. */
export function folderOf(key: string): string {
  return key.slice(0, Math.max(key.lastIndexOf("/"), 0));
}

export class DurableWriter {
  readonly #root: DirectoryRoot;
  readonly #durableFolders = new Map<string, string>();
  #rootMade = false;
  #foldersAreDurable = true;

  constructor(root: DirectoryRoot) {
    this.#root = root;
  }

  /** Whether the file system has synced every folder so far; without that a power cut may undo the newest changes. */
  get foldersAreDurable(): boolean {
    return this.#foldersAreDurable;
  }

  /** Writes `body` as the object `key`, as a store's `put` does. Nothing of it is visible until all of it is. */
  async write(key: string, body: Uint8Array, { signal, ifAbsent = false }: PutOptions = {}): Promise<void> {
    using root = await this.#openRoot();
    using unfinished = await root.make(TEMPORARY_FOLDER, FOLDER_MODE);
    await this.#removeLeftovers(unfinished);
    const temporary = unfinished.at(temporaryName());
    try {
      await writeSynced(temporary, body);
      signal?.throwIfAborted();
      using folder = await this.#moveInto(root, key, { temporary, ifAbsent });
      await this.#syncFolders(folderOf(key), folder);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {}); // the first error is the one to tell
      throw error;
    }
  }

  /** Removes the folders that deleting these objects has left empty, and makes the deletions durable. */
  async settleDeletions(keys: readonly string[]): Promise<void> {
    const changed = new Set<string>();
    for (const folder of new Set(keys.map(folderOf))) changed.add(await this.#pruneEmpty(folder));
    for (const folder of changed) await this.#sync(folder).catch(unlessAbsent);
  }

  /** Only the first write makes the root: one that is gone later was unmounted or moved, and is not made anew. */
  async #openRoot(): Promise<Folder> {
    const { path } = this.#root;
    if (!this.#rootMade) {
      await this.#root.check();
      const created = await mkdir(path, { recursive: true, mode: FOLDER_MODE });
      if (created !== undefined) await this.#syncChain(path, dirname(created));
    }
    return await this.#root.open();
  }

  /** With the first write. */
  async #removeLeftovers(unfinished: Folder): Promise<void> {
    if (this.#rootMade) return;
    this.#rootMade = true;
    await removeLeftovers(unfinished);
  }

  /** Resolves to the folder that it is in now. */
  async #moveInto(
    root: Folder,
    key: string,
    { temporary, ifAbsent }: { temporary: string; ifAbsent: boolean },
  ): Promise<Folder> {
    for (let attempt = 1;; attempt++) {
      let folder: Folder | undefined;
      try {
        folder = await root.make(folderOf(key), FOLDER_MODE);
        if (ifAbsent) await moveUnlessThere(temporary, folder.at(basename(key)));
        else await rename(temporary, folder.at(basename(key)));
        return folder;
      } catch (error) {
        folder?.[Symbol.dispose]();
        if (attempt === RENAME_ATTEMPTS_MAX) throw error;
        if (IN_THE_WAY.has(errnoOf(error) ?? "")) await this.#removeEmpty(key);
        else if (errnoOf(error) !== "ENOENT") throw error;
      }
    }
  }

  /** An empty folder where the object belongs holds nothing; one with files is somebody's. */
  async #removeEmpty(key: string): Promise<void> {
    using folder = await this.#root.folder(folderOf(key));
    await rmdir(folder.at(basename(key))).catch((cause) => {
      if (isAbsent(cause)) return;
      const path = join(this.#root.path, key);
      throw new StoreError(`Cannot write "${path}": a directory is in its place; move it away`, {
        retryable: false,
        cause,
      });
    });
  }

  /** Syncs the folder `path`, which holds a new name, and those above it whose own name may not be durable yet. */
  async #syncFolders(path: string, folder: Folder): Promise<void> {
    let identity = await this.#syncOpened(folder);
    for (let at = path; at !== "" && this.#durableFolders.get(at) !== identity; at = folderOf(at)) {
      const above = await this.#sync(folderOf(at));
      if (this.#durableFolders.size >= DURABLE_FOLDERS_MAX) this.#durableFolders.clear();
      this.#durableFolders.set(at, identity);
      identity = above;
    }
  }

  /** Of the root and the folders above it. */
  async #syncChain(from: string, upTo: string): Promise<void> {
    for (let at = from;; at = dirname(at)) {
      using folder = await Folder.open(at);
      await this.#syncOpened(folder);
      if (at === upTo) return;
    }
  }

  async #sync(path: string): Promise<string> {
    using folder = await this.#root.folder(path);
    return await this.#syncOpened(folder);
  }

  /** Resolves to the folder's identity from before it was synced: another one by then is synced once more. */
  async #syncOpened(folder: Folder): Promise<string> {
    const identity = folderIdentity(await folder.stat());
    this.#foldersAreDurable = await syncFolder(folder.here) && this.#foldersAreDurable;
    return identity;
  }

  /** Removes `folder` and those above it as far as they are empty; resolves to the first that remains. */
  async #pruneEmpty(folder: string): Promise<string> {
    for (let at = folder; at !== ""; at = folderOf(at)) {
      if (!await this.#removeFolder(at)) return at;
    }
    return "";
  }

  /** Whether it is gone. */
  async #removeFolder(path: string): Promise<boolean> {
    try {
      using above = await this.#root.folder(folderOf(path));
      await rmdir(above.at(basename(path)));
      return true;
    } catch (error) {
      return isAbsent(error);
    }
  }
}

/** A rename that replaces nothing, where the file system has hard links; of the two names the old one goes in any case. */
async function moveUnlessThere(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (NO_LINKS.has(errnoOf(error) ?? "")) return await rename(from, to);
    if (errnoOf(error) !== "EEXIST" || (await lstat(to)).isDirectory()) throw error;
  }
  await rm(from);
}

/** `path` is new. */
async function writeSynced(path: string, body: Uint8Array): Promise<void> {
  await using file = await open(path, "wx", FILE_MODE);
  for (let at = 0; at < body.length;) {
    const { bytesWritten } = await file.write(body, at, body.length - at);
    if (bytesWritten === 0) throw new Error("the file system accepts no more bytes, without giving a reason");
    at += bytesWritten;
  }
  await file.sync();
}

function unlessAbsent(error: unknown): void {
  if (!isAbsent(error)) throw error;
}
