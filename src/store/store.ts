/**
 * The store interface: keys and bytes, nothing of what they mean. Directory, S3 and memory implement it, the
 * wrappers (retries, limits, faults) are stores over stores, and `test/kit/store_contract.ts` is what all must pass.
 */
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

export interface PutOptions extends RequestOptions {
  /**
   * Leaves an object of that key as it is, if there is one: the caller reads back which one it is. A store that cannot do
   * that in one step replaces it.
   */
  ifAbsent?: boolean | undefined;
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

/** One thing that takes room below a key. */
export interface StoredVersion {
  key: string;
  kind: "version" | "marker" | "upload";
  /** The version's or upload's own id; empty where the store has none. */
  id: string;
  /** Of a version or marker: it is what a reader of the key meets. */
  isLatest: boolean;
  sizeBytes: number;
}

export interface VersionPage {
  /** In no order, but no later page has keys before these; those of one key may be on two pages. */
  traces: StoredVersion[];
  /** To be given as `after` for the next page; `undefined` after the last. */
  next: string | undefined;
}

/** Why a trace is still there. */
export interface VersionFailure {
  trace: StoredVersion;
  reason: string;
}

/** What holds a trace in place; neither where nothing does, or the store does not say. */
export interface Lock {
  /** End of its retention, milliseconds since 1970 by the store's clock. */
  untilMs: number | undefined;
  legalHold: boolean;
}

/** Fails as a `Store` does. */
export interface ObjectVersions {
  /** One page of everything whose key begins with `prefix`. */
  page(prefix: string, options: RequestOptions & { after?: string | undefined }): Promise<VersionPage>;
  /** Removes these, at most a page of them, for good; one that is gone is a success. Resolves to those that remain. */
  remove(traces: readonly StoredVersion[], options: RequestOptions): Promise<VersionFailure[]>;
  lockOf(trace: StoredVersion, options: RequestOptions): Promise<Lock>;
}

/**
 * Keys are non-empty `/`-separated ASCII paths without empty, `.` or `..` segments.
 *
 * Every method throws `MissingError` for an object that is definitely not there, `StoreError` for everything else that
 * the store did not do, or did not prove to have done (docs/stores.md), and the signal's reason when aborted. A write is
 * durable and visible to every later `get`, `head` and `list` of any client once `put` resolves; until then either
 * nothing or all of it is visible.
 */
export interface Store {
  /** For people and logs; holds no secret. */
  readonly url: string;

  /** What answers for it, as an operator knows it: a server's name and port. Left out where that is the URL itself. */
  readonly host?: string | undefined;

  /** What an operator should know of it, as one sentence. Complete once something was written. */
  readonly caveat?: string | undefined;

  /** Of a store that may keep more than `list` tells. */
  readonly history?: ObjectVersions | undefined;

  /**
   * The bytes of the object, or of the range: all of them, or it fails. Throws `UnavailableError` for one object that the
   * store refuses to give while it gives others.
   */
  get(key: string, options?: GetOptions): Promise<Uint8Array>;

  /**
   * `body` may be backed by shared memory and must not change until the promise settles. Replaces what is there, unless
   * `ifAbsent` is set.
   */
  put(key: string, body: Uint8Array, options?: PutOptions): Promise<void>;

  /** `undefined` where there is definitely no such object: what does not say so for certain is asked again in another way. */
  head(key: string, options?: RequestOptions): Promise<ObjectInfo | undefined>;

  /**
   * Every object whose key begins with `prefix`, ascending by the bytes of the key. It ends only where the store has said
   * that this is all; otherwise it fails, perhaps after it has told some.
   */
  list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo>;

  /**
   * The distinct next segments below `prefix` (which is empty or ends in `/`) that have keys beneath them, without
   * their `/`, in the order of these keys: `a-b` before `a`. Objects directly below `prefix` are not told.
   */
  folders(prefix: string, options?: RequestOptions): AsyncGenerator<string>;

  /**
   * Deletes; a key that is not there is a success. Resolves to the keys that remain, and to those of which the store did
   * not say what became.
   */
  delete(keys: readonly string[], options?: RequestOptions): Promise<DeleteFailure[]>;

  close(): Promise<void>;
}
