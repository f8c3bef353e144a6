/** A store over a store that tells of every call, and lets a test step in before or after it. */
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  RequestOptions,
  Store,
} from "../../src/store/store.ts";
import type { Repository } from "../../src/project/repository.ts";

export interface StoreCall {
  op: "get" | "put" | "head" | "list" | "folders" | "delete";
  /** The key, the prefix, or the keys joined with a space. */
  key: string;
  /** Of a get that wants a part. */
  range?: GetOptions["range"];
}

export interface StoreHooks {
  /** Runs before the call reaches the store; what it throws, the call throws. */
  before?: (call: StoreCall) => void | Promise<void>;
  /** Runs once the store has done it. */
  after?: (call: StoreCall) => void | Promise<void>;
  /** What a `get` gives instead of the bytes that are there. */
  change?: (key: string, bytes: Uint8Array) => Uint8Array;
  /** What a listing does not tell. */
  hide?: (key: string) => boolean;
  /** What a `delete` leaves in place. */
  refuse?: (key: string) => boolean;
}

export class HookedStore implements Store {
  readonly url = "hooked:";
  readonly calls: StoreCall[] = [];
  readonly #inner: Store;
  readonly #hooks: StoreHooks;

  constructor(inner: Store, hooks: StoreHooks = {}) {
    this.#inner = inner;
    this.#hooks = hooks;
  }

  /** Keys of the calls of this kind so far, in order. */
  keys(op: StoreCall["op"]): string[] {
    return this.calls.filter((call) => call.op === op).map(({ key }) => key);
  }

  async get(key: string, options?: GetOptions): Promise<Uint8Array> {
    const range = options?.range;
    const call: StoreCall = { op: "get", key, ...(range && { range }) };
    const bytes = await this.#call(call, () => this.#inner.get(key, options));
    return this.#hooks.change?.(key, bytes) ?? bytes;
  }

  put(key: string, body: Uint8Array, options?: RequestOptions): Promise<void> {
    return this.#call({ op: "put", key }, () => this.#inner.put(key, body, options));
  }

  head(key: string, options?: RequestOptions): Promise<ObjectInfo | undefined> {
    return this.#call({ op: "head", key }, () => this.#inner.head(key, options));
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    // Taken as one call: what it gives is the state of that moment.
    const infos = await this.#call(
      { op: "list", key: prefix },
      () => Array.fromAsync(this.#inner.list(prefix, options)),
    );
    yield* infos.filter(({ key }) => this.#hooks.hide?.(key) !== true);
  }

  async *folders(prefix: string, options?: RequestOptions): AsyncGenerator<string> {
    const call = { op: "folders", key: prefix } as const;
    yield* await this.#call(call, () => Array.fromAsync(this.#inner.folders(prefix, options)));
  }

  async delete(keys: readonly string[], options?: RequestOptions): Promise<DeleteFailure[]> {
    const refused = keys.filter((key) => this.#hooks.refuse?.(key));
    const rest = keys.filter((key) => !refused.includes(key));
    const left = await this.#call(
      { op: "delete", key: keys.join(" ") },
      () => this.#inner.delete(rest, options),
    );
    return [...left, ...refused.map((key) => ({ key, refused: true, reason: "locked" }))];
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async #call<T>(call: StoreCall, work: () => Promise<T>): Promise<T> {
    this.calls.push(call);
    await this.#hooks.before?.(call);
    const result = await work();
    await this.#hooks.after?.(call);
    return result;
  }
}

/** The same repository through hooks, and the store that tells of its calls. */
export function hooked(
  repository: Repository,
  hooks: StoreHooks = {},
): { store: HookedStore; repository: Repository } {
  const store = new HookedStore(repository.store, hooks);
  return { store, repository: { ...repository, store } };
}
