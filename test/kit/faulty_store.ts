/** A store over a store that fails as it is told: for tests of everything that must survive a bad store. */
import { StoreError } from "../../src/errors.ts";
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  RequestOptions,
  Store,
} from "../../src/store/store.ts";

export type Method = "get" | "put" | "head" | "list" | "folders" | "delete";

export interface Call {
  method: Method;
  /** The key, the prefix, or the first of the keys to delete. */
  key: string;
  /** How many calls of this store came before. */
  index: number;
}

/** `lost`: done, but the answer did not arrive. `hang`: neither done nor answered until the signal aborts. */
export type Fault = { kind: "fail" | "lost"; error: Error } | { kind: "hang" };

export class FaultyStore implements Store {
  readonly url: string;
  /** Every call so far, the failed ones included. */
  readonly calls: Call[] = [];
  readonly #inner: Store;
  readonly #faultOf: (call: Call) => Fault | undefined;

  /** `faultOf` decides about each call before it reaches `inner`. */
  constructor(inner: Store, faultOf: (call: Call) => Fault | undefined) {
    this.url = inner.url;
    this.#inner = inner;
    this.#faultOf = faultOf;
  }

  get(key: string, options?: GetOptions): Promise<Uint8Array> {
    return this.#run("get", key, options, () => this.#inner.get(key, options));
  }

  put(key: string, body: Uint8Array, options?: RequestOptions): Promise<void> {
    return this.#run("put", key, options, () => this.#inner.put(key, body, options));
  }

  head(key: string, options?: RequestOptions): Promise<ObjectInfo | undefined> {
    return this.#run("head", key, options, () => this.#inner.head(key, options));
  }

  /** A fault comes before the first entry; `lost` comes behind the first. */
  list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    return this.#walk("list", { prefix, options }, () => this.#inner.list(prefix, options));
  }

  folders(prefix: string, options?: RequestOptions): AsyncGenerator<string> {
    return this.#walk("folders", { prefix, options }, () => this.#inner.folders(prefix, options));
  }

  delete(keys: readonly string[], options?: RequestOptions): Promise<DeleteFailure[]> {
    return this.#run("delete", keys[0] ?? "", options, () => this.#inner.delete(keys, options));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #note(method: Method, key: string): Fault | undefined {
    const call = { method, key, index: this.calls.length };
    this.calls.push(call);
    return this.#faultOf(call);
  }

  async #run<T>(
    method: Method,
    key: string,
    options: RequestOptions | undefined,
    run: () => Promise<T>,
  ): Promise<T> {
    const fault = this.#note(method, key);
    if (fault?.kind === "hang") return await hang(options?.signal);
    if (fault?.kind === "fail") throw fault.error;
    const result = await run();
    if (fault?.kind === "lost") throw fault.error;
    return result;
  }

  async *#walk<T>(
    method: Method,
    { prefix, options }: { prefix: string; options: RequestOptions | undefined },
    run: () => AsyncGenerator<T>,
  ): AsyncGenerator<T> {
    const fault = this.#note(method, prefix);
    if (fault?.kind === "hang") await hang(options?.signal);
    if (fault?.kind === "fail") throw fault.error;
    for await (const entry of run()) {
      yield entry;
      if (fault?.kind === "lost") throw fault.error;
    }
  }
}

/** A 500, a reset connection, a timeout: another attempt may succeed. */
export function unavailable(): StoreError {
  return new StoreError('Cannot reach "the store": it answered 500', { retryable: true });
}

/** A 403. */
export function refused(): StoreError {
  return new StoreError('Cannot use "the store": access denied (403)', { retryable: false });
}

function hang(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
