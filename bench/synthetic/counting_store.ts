/** A store over a store that counts requests as S3 would bill them: a listing is one for each thousand keys. */
import type { GetOptions, ListOptions, RequestOptions, Store } from "../../src/store/store.ts";

const KEYS_PER_REQUEST = 1000;

export interface Requests {
  get: number;
  put: number;
  head: number;
  list: number;
  delete: number;
}

export class CountingStore implements Store {
  readonly requests: Requests = { get: 0, put: 0, head: 0, list: 0, delete: 0 };
  readonly #inner: Store;

  constructor(inner: Store) {
    this.#inner = inner;
  }

  get url(): string {
    return this.#inner.url;
  }

  get total(): number {
    return Object.values(this.requests).reduce((sum, count) => sum + count, 0);
  }

  get(key: string, options?: GetOptions) {
    this.requests.get++;
    return this.#inner.get(key, options);
  }

  put(key: string, body: Uint8Array, options?: RequestOptions) {
    this.requests.put++;
    return this.#inner.put(key, body, options);
  }

  head(key: string, options?: RequestOptions) {
    this.requests.head++;
    return this.#inner.head(key, options);
  }

  async *list(prefix: string, options?: ListOptions) {
    let keys = 0;
    for await (const info of this.#inner.list(prefix, options)) {
      if (keys++ % KEYS_PER_REQUEST === 0) this.requests.list++;
      yield info;
    }
    if (keys === 0) this.requests.list++;
  }

  folders(prefix: string, options?: RequestOptions) {
    this.requests.list++;
    return this.#inner.folders(prefix, options);
  }

  delete(keys: readonly string[], options?: RequestOptions) {
    this.requests.delete += Math.ceil(keys.length / KEYS_PER_REQUEST);
    return this.#inner.delete(keys, options);
  }

  close() {
    return this.#inner.close();
  }
}
