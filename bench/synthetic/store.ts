/**
 * A store with millions of chunks that takes little memory itself: chunks have ids and no content, pages are real objects in
 * one file on disk, and everything else is in memory.
 */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { toHex } from "../../src/util/bytes.ts";
import {
  chunkName,
  CHUNKS_PREFIX,
  chunkShardPrefix,
  parseChunkName,
  projectPrefix,
} from "../../src/format/layout.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  RequestOptions,
  Store,
} from "../../src/store/store.ts";
import type { SyntheticIds } from "./ids.ts";

const CHUNK_OBJECT_BYTES = 4 * 1024 * 1024;

const KEYS_PER_REQUEST = 1000;
/** No request to a real store is done before the event loop has turned; work that never lets it is not alike. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

interface Page {
  name: string;
  offset: number;
  length: number;
}

export class SyntheticStore implements Store {
  readonly url = "synthetic:";
  readonly #rest = new MemoryStore();
  readonly #ids: SyntheticIds;
  readonly #prefix: string;
  readonly #deleted: Uint8Array;
  readonly #pages = new Map<string, Page>();
  readonly #path: string;
  readonly #file: number;
  #fileBytes = 0;
  #sorted: Page[] | undefined;

  /** `path` is where the pages go. */
  constructor(ids: SyntheticIds, { project, path }: { project: string; path: string }) {
    this.#ids = ids;
    this.#prefix = projectPrefix(project);
    this.#deleted = new Uint8Array(ids.count);
    this.#path = path;
    this.#file = openSync(path, "w+");
  }

  /** Chunks that were not deleted. */
  get chunks(): number {
    return this.#deleted.reduce((left, deleted) => left - deleted, this.#ids.count);
  }

  async get(key: string, options: GetOptions = {}): Promise<Uint8Array> {
    const page = this.#pages.get(this.#nameOf(key));
    await turn();
    if (page === undefined) return await this.#rest.get(key, options);
    const bytes = new Uint8Array(page.length);
    readSync(this.#file, bytes, 0, page.length, page.offset);
    return bytes;
  }

  async put(key: string, body: Uint8Array, options?: RequestOptions): Promise<void> {
    await turn();
    const name = this.#nameOf(key);
    if (!name.startsWith(CHUNKS_PREFIX)) return await this.#rest.put(key, body, options);
    writeSync(this.#file, body, 0, body.length, this.#fileBytes);
    this.#pages.set(name, { name, offset: this.#fileBytes, length: body.length });
    this.#fileBytes += body.length;
    this.#sorted = undefined;
  }

  async head(key: string, options?: RequestOptions): Promise<ObjectInfo | undefined> {
    await turn();
    return await this.#rest.head(key, options);
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    const shard = /^chunks\/([0-9a-f]{2})\/$/.exec(this.#nameOf(prefix))?.[1];
    if (shard === undefined) return yield* this.#rest.list(prefix, options);
    let keys = 0;
    for (const { name, sizeBytes } of this.#shard(parseInt(shard, 16))) {
      if (keys++ % KEYS_PER_REQUEST === 0) await turn();
      yield { key: this.#prefix + name, sizeBytes, modifiedMs: 0 };
    }
  }

  folders(prefix: string, options?: RequestOptions): AsyncGenerator<string> {
    return this.#rest.folders(prefix, options);
  }

  async delete(keys: readonly string[], options?: RequestOptions): Promise<DeleteFailure[]> {
    await turn();
    const others = keys.filter((key) => {
      const ref = parseChunkName(this.#nameOf(key));
      if (ref === undefined) return true;
      if (!this.#pages.delete(chunkName(ref))) this.#deleted[this.#ids.indexOf(ref.id)] = 1;
      return false;
    });
    return await this.#rest.delete(others, options);
  }

  async close(): Promise<void> {
    closeSync(this.#file);
    await unlink(this.#path);
  }

  #nameOf(key: string): string {
    return key.startsWith(this.#prefix) ? key.slice(this.#prefix.length) : key;
  }

  /** Chunks and pages, merged in the order of their names. */
  *#shard(shard: number): Generator<{ name: string; sizeBytes: number }> {
    const prefix = chunkShardPrefix(shard);
    this.#sorted ??= [...this.#pages.values()].sort((a, b) => a.name < b.name ? -1 : 1);
    const pages = this.#sorted.filter(({ name }) => name.startsWith(prefix) && this.#pages.has(name));
    let page = 0;
    const end = this.#ids.firstOf(shard + 1);
    for (let index = this.#ids.firstOf(shard); index < end; index++) {
      if (this.#deleted[index] === 1) continue;
      const name = prefix + toHex(this.#ids.id(index));
      for (; page < pages.length && pages[page]!.name < name; page++) {
        yield { name: pages[page]!.name, sizeBytes: pages[page]!.length };
      }
      yield { name, sizeBytes: CHUNK_OBJECT_BYTES };
    }
    for (; page < pages.length; page++) yield { name: pages[page]!.name, sizeBytes: pages[page]!.length };
  }
}
