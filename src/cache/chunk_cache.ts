/**
 * The chunk cache: sealed objects of chunks that streams cover only in part again and again, as the store has them. A
 * bounded folder, the ones used longest ago go first. What comes out is opened and verified like anything downloaded.
 */
import { readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { replaceFile } from "./cache_folder.ts";

const MAX_BYTES = 512 * 1024 * 1024;

export class ChunkCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #onDamage: (path: string) => void;
  #putBytes = 0;

  /** `onDamage` is told of each object that had to be dropped. */
  constructor(folder: string, options: { maxBytes?: number; onDamage: (path: string) => void }) {
    this.#folder = folder;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#onDamage = options.onDamage;
  }

  /** The object's bytes, if they are here. */
  async get(name: string): Promise<Uint8Array | undefined> {
    const path = this.#path(name);
    try {
      const bytes = await readFile(path);
      const now = new Date();
      await utimes(path, now, now);
      return bytes;
    } catch {
      return undefined;
    }
  }

  /** Keeps the object, up to the limit in one run. A cache that cannot be written is no reason to fail. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    this.#putBytes += bytes.length;
    if (this.#putBytes > this.#maxBytes) return;
    await replaceFile(this.#path(name), (temporary) => writeFile(temporary, bytes, { mode: 0o600 })).catch(
      () => {},
    );
  }

  /** Forgets what turned out not to be what was put. */
  async drop(name: string): Promise<void> {
    this.#onDamage(this.#path(name));
    await rm(this.#path(name), { force: true }).catch(() => {});
  }

  /** Brings the folder back to its limit; called once, at the end of a run. */
  async trim(): Promise<void> {
    const names = await readdir(this.#folder).catch(() => []);
    const files = await Promise.all(names.map(async (name) => {
      const path = join(this.#folder, name);
      const { size, mtimeMs } = await stat(path).catch(() => ({ size: 0, mtimeMs: 0 }));
      return { path, size, mtimeMs };
    }));
    let kept = 0;
    for (const file of files.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
      kept += file.size;
      if (kept > this.#maxBytes) await rm(file.path, { force: true }).catch(() => {});
    }
  }

  #path(name: string): string {
    return join(this.#folder, basename(name));
  }
}
