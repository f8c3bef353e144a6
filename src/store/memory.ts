/** A store in memory: for tests and simulations, and the shortest account of what the interface means. */
import { MissingError } from "../errors.ts";
import { assertPrefix, assertRange, checkKey } from "./key.ts";
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  PutOptions,
  RequestOptions,
  Store,
} from "./store.ts";

export class MemoryStore implements Store {
  readonly url: string;
  readonly #now: () => number;
  readonly #objects = new Map<string, { bytes: Uint8Array; modifiedMs: number }>();

  /** `now` is the store's own clock, milliseconds since 1970. */
  constructor(options: { url?: string; now?: () => number } = {}) {
    this.url = options.url ?? "memory:";
    this.#now = options.now ?? Date.now;
  }

  async get(key: string, { range, signal }: GetOptions = {}): Promise<Uint8Array> {
    checkKey(key);
    assertRange(range);
    signal?.throwIfAborted();
    const object = this.#objects.get(key);
    if (object === undefined) throw new MissingError(key, `Cannot read "${this.url}/${key}": no such object`);
    return object.bytes.slice(range?.offset ?? 0, range && range.offset + range.length);
  }

  async put(key: string, body: Uint8Array, { signal, ifAbsent }: PutOptions = {}): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    if (ifAbsent === true && this.#objects.has(key)) return;
    this.#objects.set(key, { bytes: new Uint8Array(body), modifiedMs: this.#now() });
  }

  async head(key: string, { signal }: RequestOptions = {}): Promise<ObjectInfo | undefined> {
    checkKey(key);
    signal?.throwIfAborted();
    return this.#info(key);
  }

  async *list(prefix: string, { after = "", signal }: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    assertPrefix(prefix);
    for (const key of [...this.#objects.keys()].sort()) {
      signal?.throwIfAborted();
      if (!key.startsWith(prefix) || key <= after) continue;
      const info = this.#info(key);
      if (info !== undefined) yield info;
    }
  }

  async *folders(prefix: string, options: RequestOptions = {}): AsyncGenerator<string> {
    let last: string | undefined;
    for await (const { key } of this.list(prefix, options)) {
      const end = key.indexOf("/", prefix.length);
      const segment = key.slice(prefix.length, end);
      if (end === -1 || segment === last) continue;
      yield last = segment;
    }
  }

  async delete(keys: readonly string[], { signal }: RequestOptions = {}): Promise<DeleteFailure[]> {
    keys.forEach(checkKey);
    signal?.throwIfAborted();
    for (const key of keys) this.#objects.delete(key);
    return [];
  }

  async close(): Promise<void> {}

  #info(key: string): ObjectInfo | undefined {
    const object = this.#objects.get(key);
    return object && { key, sizeBytes: object.bytes.length, modifiedMs: object.modifiedMs };
  }
}
