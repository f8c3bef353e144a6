/** A store that reads and writes no more than so many bytes a second; requests without a body are not held up. */
import type { GetOptions, PutOptions, Store } from "../store.ts";

interface RateLimit {
  bytesPerSecond: number;
  /** Milliseconds of any clock that never goes back. */
  now(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** A store over `store`. Uploads wait before they begin, downloads after they came: what came cannot be held back. */
export function limitRate(store: Store, limit: RateLimit): Store {
  const turn = new Turn(limit);
  return {
    url: store.url,
    host: store.host,
    get caveat() {
      return store.caveat;
    },
    history: store.history,
    async get(key: string, options?: GetOptions) {
      const bytes = await store.get(key, options);
      await turn.take(bytes.length, options?.signal);
      return bytes;
    },
    async put(key: string, body: Uint8Array, options?: PutOptions) {
      await turn.take(body.length, options?.signal);
      await store.put(key, body, options);
    },
    head: (key, options) => store.head(key, options),
    list: (prefix, options) => store.list(prefix, options),
    folders: (prefix, options) => store.folders(prefix, options),
    delete: (keys, options) => store.delete(keys, options),
    close: () => store.close(),
  };
}

/** Hands out the time on the line: whoever takes bytes waits until those before it are through. */
class Turn {
  readonly #limit: RateLimit;
  /** When the line is free again. */
  #freeMs = 0;

  constructor(limit: RateLimit) {
    this.#limit = limit;
  }

  async take(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    const nowMs = this.#limit.now();
    this.#freeMs = Math.max(this.#freeMs, nowMs) + bytes * 1000 / this.#limit.bytesPerSecond;
    const waitMs = this.#freeMs - nowMs;
    if (waitMs > 0) await this.#limit.sleep(waitMs, signal ?? new AbortController().signal);
  }
}
