/**
 * The chunk cache: sealed objects of chunks that streams cover only in part again and again, as the store has them. A
 * bounded folder, the ones used longest ago go first. What comes out is opened and verified like anything downloaded.
 */
import { lstat, lutimes, readdir, unlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Folder } from "../os/folder.ts";
import { type CachePath, openCacheFolder, pathOf, readCached, replaceFile } from "./cache_folder.ts";

const MAX_BYTES = 512 * 1024 * 1024;

export class ChunkCache {
  readonly #folder: CachePath;
  readonly #maxBytes: number;
  readonly #onDamage: (path: string) => void;
  #putBytes = 0;

  /** `onDamage` is told of each object that had to be dropped. */
  constructor(folder: CachePath, options: { maxBytes?: number; onDamage: (path: string) => void }) {
    this.#folder = folder;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#onDamage = options.onDamage;
  }

  /** The object's bytes, if they are here. */
  async get(name: string): Promise<Uint8Array | undefined> {
    const bytes = await readCached(this.#file(name));
    if (bytes !== undefined) await this.#use(name);
    return bytes;
  }

  /** Keeps the object, up to the limit in one run. A cache that cannot be written is no reason to fail. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    this.#putBytes += bytes.length;
    if (this.#putBytes > this.#maxBytes) return;
    await replaceFile(this.#file(name), (temporary) => writeFile(temporary, bytes, { mode: 0o600 })).catch(
      () => {},
    );
  }

  /** Forgets what turned out not to be what was put. */
  async drop(name: string): Promise<void> {
    this.#onDamage(pathOf(this.#file(name)));
    await this.#within((folder) => unlink(folder.at(basename(name))));
  }

  /** Brings the folder back to its limit; called once, at the end of a run. */
  async trim(): Promise<void> {
    await this.#within(async (folder) => {
      const files = await Promise.all((await readdir(folder.here)).map(async (name) => {
        const { size, mtimeMs } = await lstat(folder.at(name)).catch(() => ({ size: 0, mtimeMs: 0 }));
        return { name, size, mtimeMs };
      }));
      let kept = 0;
      for (const { name, size } of files.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
        kept += size;
        if (kept > this.#maxBytes) await unlink(folder.at(name)).catch(() => {});
      }
    });
  }

  /** It was used now. */
  async #use(name: string): Promise<void> {
    const now = new Date();
    await this.#within((folder) => lutimes(folder.at(basename(name)), now, now));
  }

  /** Does something in the folder; that it cannot be done is no reason to fail. */
  async #within(work: (folder: Folder) => Promise<void>): Promise<void> {
    try {
      using folder = await openCacheFolder(this.#folder);
      await work(folder);
    } catch {
      // There may be no such folder.
    }
  }

  #file(name: string): CachePath {
    return { ...this.#folder, path: join(this.#folder.path, basename(name)) };
  }
}
