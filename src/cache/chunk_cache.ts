/**
 * The chunk cache: sealed objects of chunks that streams cover only in part again and again, as the store has them. A
 * bounded folder, the ones used longest ago go first. What comes out is opened and verified like anything downloaded.
 */
import { basename } from "node:path";
import { type OwnPath, pathOf, within } from "../os/own_path.ts";
import { listOwn, readOwn, removeOwn, replaceOwn, touchOwn } from "../os/own_files.ts";

const MAX_BYTES = 512 * 1024 * 1024;

export class ChunkCache {
  readonly #folder: OwnPath;
  readonly #maxBytes: number;
  readonly #onDamage: (path: string) => void;
  #putBytes = 0;

  /** `onDamage` is told of each object that had to be dropped. */
  constructor(folder: OwnPath, options: { maxBytes?: number; onDamage: (path: string) => void }) {
    this.#folder = folder;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#onDamage = options.onDamage;
  }

  /** The object's bytes, if they are here. */
  async get(name: string): Promise<Uint8Array | undefined> {
    const bytes = await readOwn(this.#file(name)).catch(() => undefined);
    if (bytes !== undefined) await touchOwn(this.#file(name));
    return bytes;
  }

  /** Keeps the object, up to the limit in one run. A cache that cannot be written is no reason to fail. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    this.#putBytes += bytes.length;
    if (this.#putBytes > this.#maxBytes) return;
    await replaceOwn(this.#file(name), (file) => file.write(bytes, 0)).catch(() => {});
  }

  /** Forgets what turned out not to be what was put. */
  async drop(name: string): Promise<void> {
    this.#onDamage(pathOf(this.#file(name)));
    await removeOwn(this.#file(name)).catch(() => {});
  }

  /** Brings the folder back to its limit, at the end of a run. */
  async [Symbol.asyncDispose](): Promise<void> {
    const files = await listOwn(this.#folder).catch(() => []);
    let kept = 0;
    for (const { name, sizeBytes } of files.sort((a, b) => b.usedMs - a.usedMs)) {
      kept += sizeBytes;
      if (kept > this.#maxBytes) await removeOwn(this.#file(name)).catch(() => {});
    }
  }

  #file(name: string): OwnPath {
    return within(this.#folder, basename(name));
  }
}
