/**
 * The store interface: keys and bytes, nothing of what they mean. Directory, S3 and memory implement it, the
 * wrappers (retries, limits, faults) are stores over stores, and `test/store/contract.ts` is what all must pass.
 */
import type { History } from "./history.ts";

export interface ObjectInfo {
  key: string;
  sizeBytes: number;
  /** The store's own clock, milliseconds since 1970. Never to be compared with this host's clock. */
  modifiedMs: number;
}

export interface RequestOptions {
  signal?: AbortSignal | undefined;
  /** Called before the request is sent once more, after an attempt whose outcome is not known; what it throws ends it. */
  beforeRetry?: (() => void | Promise<void>) | undefined;
}

export interface GetOptions extends RequestOptions {
  /** First byte wanted, and how many (1 or more) at most; past the object's end there are fewer, or none. */
  range?: { offset: number; length: number } | undefined;
  /** Room for the bytes: used where they fit, the result is then a part of it. It may be shared memory. */
  into?: Uint8Array | undefined;
}

export interface ListOptions extends RequestOptions {
  /** Only keys that sort after this one. */
  after?: string | undefined;
}

/** Why one key of a `delete` is still there. */
export interface DeleteFailure {
  key: string;
  /** The rights or a lock forbid it: trying again will not help. */
  refused: boolean;
  reason: string;
}

/**
 * Keys are non-empty `/`-separated ASCII paths without empty, `.` or `..` segments.
 *
 * Every method throws `MissingError` for an object that is definitely not there, `StoreError` for everything else
 * that the store did not do, and the signal's reason when aborted. A write is durable and visible to every later
 * `get`, `head` and `list` of any client once `put` resolves; until then either nothing or all of it is visible.
 */
export interface Store {
  /** For people and logs; holds no secret. */
  readonly url: string;

  /** Of a store that may keep more than `list` tells. */
  readonly history?: History | undefined;

  get(key: string, options?: GetOptions): Promise<Uint8Array>;

  /** `body` may be backed by shared memory and must not change until the promise settles. Replaces what is there. */
  put(key: string, body: Uint8Array, options?: RequestOptions): Promise<void>;

  /** `undefined` where there is definitely no such object. */
  head(key: string, options?: RequestOptions): Promise<ObjectInfo | undefined>;

  /** Every object whose key begins with `prefix`, ascending by the bytes of the key. */
  list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo>;

  /**
   * The distinct next segments below `prefix` (which is empty or ends in `/`) that have keys beneath them, without
   * their `/`, in the order of these keys: `a-b` before `a`. Objects directly below `prefix` are not told.
   */
  folders(prefix: string, options?: RequestOptions): AsyncGenerator<string>;

  /** Deletes; a key that is not there is a success. Resolves to the keys that remain. */
  delete(keys: readonly string[], options?: RequestOptions): Promise<DeleteFailure[]>;

  close(): Promise<void>;
}
