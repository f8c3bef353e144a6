/**
 * Durable changes of a directory: temporary file, write, fsync, rename, fsync of the folder and of every folder above
 * it that is new. Part of the directory store; the order follows what POSIX leaves open about rename and power loss.
 */
import { mkdir, open, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncFolder } from "../os/sync_folder.ts";
import { StoreError } from "../errors.ts";
import { errnoOf, isAbsent } from "./directory_errors.ts";
import { folderIdentity } from "./directory_root.ts";
import { removeLeftovers } from "./leftovers.ts";

/** The folder of unfinished writes, below the root: no key may begin with it. */
export const TEMPORARY_FOLDER = "tmp";
/** What a rename onto a folder ends with. */
const IN_THE_WAY = new Set(["EISDIR", "ENOTEMPTY", "EEXIST"]);
/** How often another process may delete the emptied folder between its making and the rename into it. */
const RENAME_ATTEMPTS_MAX = 16;
/** Folders remembered as durable; beyond that they are synced once more, which costs time and nothing else. */
const DURABLE_FOLDERS_MAX = 65_536;

/** Nobody but the owner reads a repository, whatever the umask: a project may be without a passphrase. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

export class DurableWriter {
  readonly #root: string;
  readonly #temporaryFolder: string;
  readonly #durableFolders = new Map<string, string>();
  #rootMade = false;
  #foldersAreDurable = true;

  constructor(root: string) {
    this.#root = root;
    this.#temporaryFolder = join(root, TEMPORARY_FOLDER);
  }

  /** Whether the file system has synced every folder so far; without that a power cut may undo the newest changes. */
  get foldersAreDurable(): boolean {
    return this.#foldersAreDurable;
  }

  /** Writes `body` to `path`, replacing what is there. Nothing of it is visible until all of it is. */
  async write(path: string, body: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#makeRoot();
    const temporary = join(this.#temporaryFolder, crypto.randomUUID());
    try {
      await writeSynced(temporary, body);
      signal?.throwIfAborted();
      await this.#moveInto(path, temporary);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {}); // the first error is the one to tell
      throw error;
    }
    await this.#syncFolders(dirname(path));
  }

  /** Removes the folders that deleting `paths` has left empty, and makes the deletions durable. */
  async settleDeletions(paths: readonly string[]): Promise<void> {
    const changed = new Set<string>();
    for (const folder of new Set(paths.map((path) => dirname(path)))) {
      changed.add(await this.#pruneEmpty(folder));
    }
    for (const folder of changed) await this.#sync(folder).catch(unlessAbsent);
  }

  /** Only the first write makes the root: one that is gone later was unmounted or moved, and is not made anew. */
  async #makeRoot(): Promise<void> {
    if (this.#rootMade) return await makeFolder(this.#temporaryFolder);
    const created = await mkdir(this.#root, { recursive: true, mode: FOLDER_MODE });
    if (created !== undefined) await this.#syncChain(this.#root, dirname(created));
    await makeFolder(this.#temporaryFolder);
    if (this.#rootMade) return; // by another write meanwhile
    this.#rootMade = true;
    await removeLeftovers(this.#temporaryFolder);
  }

  async #moveInto(path: string, temporary: string): Promise<void> {
    for (let attempt = 1;; attempt++) {
      try {
        await this.#makeFolders(dirname(path));
        return await rename(temporary, path);
      } catch (error) {
        if (attempt === RENAME_ATTEMPTS_MAX) throw error;
        if (IN_THE_WAY.has(errnoOf(error) ?? "")) await this.#removeEmpty(path);
        else if (errnoOf(error) !== "ENOENT") throw error;
      }
    }
  }

  /** An empty folder where the object belongs holds nothing; one with files is somebody's. */
  async #removeEmpty(path: string): Promise<void> {
    await rmdir(path).catch((cause) => {
      if (isAbsent(cause)) return;
      throw new StoreError(`Cannot write "${path}": a folder is in its place; move it away`, {
        retryable: false,
        cause,
      });
    });
  }

  /** Makes `folder` and those above it, below the root. */
  async #makeFolders(folder: string): Promise<void> {
    try {
      await makeFolder(folder);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT" || dirname(folder) === this.#root) throw error;
      await this.#makeFolders(dirname(folder));
      await makeFolder(folder);
    }
  }

  /** Syncs `folder`, which holds a new name, and those above it whose own name may not be durable yet. */
  async #syncFolders(folder: string): Promise<void> {
    let identity = await this.#sync(folder);
    for (let at = folder; at !== this.#root && this.#durableFolders.get(at) !== identity; at = dirname(at)) {
      const above = await this.#sync(dirname(at));
      if (this.#durableFolders.size >= DURABLE_FOLDERS_MAX) this.#durableFolders.clear();
      this.#durableFolders.set(at, identity);
      identity = above;
    }
  }

  async #syncChain(from: string, upTo: string): Promise<void> {
    for (let at = from;; at = dirname(at)) {
      await this.#sync(at);
      if (at === upTo) return;
    }
  }

  /** Resolves to the folder's identity from before it was synced: another one by then is synced once more. */
  async #sync(folder: string): Promise<string> {
    const identity = folderIdentity(await stat(folder, { bigint: true }));
    this.#foldersAreDurable = await syncFolder(folder) && this.#foldersAreDurable;
    return identity;
  }

  /** Removes `folder` and those above it as far as they are empty; resolves to the first that remains. */
  async #pruneEmpty(folder: string): Promise<string> {
    for (let at = folder; at !== this.#root; at = dirname(at)) {
      const removed = await rmdir(at).then(() => true, (error) => isAbsent(error));
      if (!removed) return at;
    }
    return this.#root;
  }
}

async function writeSynced(path: string, body: Uint8Array): Promise<void> {
  await using file = await open(path, "wx", FILE_MODE);
  for (let at = 0; at < body.length;) {
    const { bytesWritten } = await file.write(body, at, body.length - at);
    if (bytesWritten === 0) throw new Error("the file system takes no more bytes, and says not why");
    at += bytesWritten;
  }
  await file.sync();
}

/** Its parent must be there; it may be there itself. */
async function makeFolder(path: string): Promise<void> {
  await mkdir(path, FOLDER_MODE).catch((error) => {
    if (errnoOf(error) !== "EEXIST") throw error;
  });
}

function unlessAbsent(error: unknown): void {
  if (!isAbsent(error)) throw error;
}
