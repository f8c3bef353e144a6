/** The only place of retries: a store over a store that tries again what may succeed later, and says so each time. */
import { describeError, StoreError } from "../errors.ts";
import type { History } from "./history.ts";
import type { DeleteFailure, GetOptions, ListOptions, ObjectInfo, RequestOptions, Store } from "./store.ts";

/**
 * Attempts for one request, the first included, unless the operator says otherwise: with the delays below, a minute on
 * average, two at most.
 */
export const ATTEMPTS_MAX = 10;
/** Upper bound of the first delay; it doubles with each attempt. */
export const FIRST_DELAY_MAX_MS = 500;
/** Upper bound of every delay. */
export const DELAY_MAX_MS = 30_000;

export interface RetryOptions {
  /** Told one line before each delay. */
  onRetry: (line: string) => void;
  /** Waits, and rejects early when the signal aborts. */
  sleep: (delayMs: number, signal?: AbortSignal) => Promise<unknown>;
  /** A number from 0 up to, and without, 1. */
  random: () => number;
  /** For one request, the first included; 1 or more. */
  attemptsMax?: number | undefined;
}

export class RetryStore implements Store {
  readonly #inner: Store;
  readonly #options: RetryOptions;
  readonly #attemptsMax: number;

  constructor(inner: Store, options: RetryOptions) {
    this.#inner = inner;
    this.#options = options;
    this.#attemptsMax = options.attemptsMax ?? ATTEMPTS_MAX;
  }

  get url(): string {
    return this.#inner.url;
  }

  get history(): History | undefined {
    const inner = this.#inner.history;
    return inner && {
      page: (prefix, options) => this.#retry(options, () => inner.page(prefix, options)),
      remove: (traces, options) => this.#retry(options, () => inner.remove(traces, options)),
      lockOf: (trace, options) => this.#retry(options, () => inner.lockOf(trace, options)),
    };
  }

  get(key: string, options?: GetOptions): Promise<Uint8Array> {
    return this.#retry(options, () => this.#inner.get(key, options));
  }

  put(key: string, body: Uint8Array, options?: RequestOptions): Promise<void> {
    return this.#retry(options, () => this.#inner.put(key, body, options));
  }

  head(key: string, options?: RequestOptions): Promise<ObjectInfo | undefined> {
    return this.#retry(options, () => this.#inner.head(key, options));
  }

  /** Goes on after the last key that was told, so nothing is told twice. */
  list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    let after = options.after;
    return this.#resume(options, async function* (inner) {
      for await (const info of inner.list(prefix, { ...options, after })) {
        after = info.key;
        yield info;
      }
    });
  }

  /** Starts again and leaves out what was told. */
  folders(prefix: string, options: RequestOptions = {}): AsyncGenerator<string> {
    let last = "";
    return this.#resume(options, async function* (inner) {
      for await (const folder of inner.folders(prefix, options)) {
        if (`${folder}/` <= last) continue;
        last = `${folder}/`;
        yield folder;
      }
    });
  }

  /** Keys that remain for a reason that may pass are tried again, and told only if the last attempt leaves them. */
  async delete(keys: readonly string[], options: RequestOptions = {}): Promise<DeleteFailure[]> {
    const refused: DeleteFailure[] = [];
    let left = keys;
    for (let attempt = 1;; attempt++) {
      const failures = await this.#retry(options, () => this.#inner.delete(left, options));
      refused.push(...failures.filter((failure) => failure.refused));
      const passing = failures.filter((failure) => !failure.refused);
      const [first] = passing;
      if (first === undefined || attempt === this.#attemptsMax) return [...refused, ...passing];
      left = passing.map(({ key }) => key);
      const message = `Cannot delete "${this.url}/${first.key}": ${first.reason}`;
      await this.#pause(new StoreError(message, { retryable: true }), attempt, options);
    }
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #retry<T>(options: RequestOptions | undefined, run: () => Promise<T>): Promise<T> {
    for (let attempt = 1;; attempt++) {
      try {
        return await run();
      } catch (error) {
        await this.#pause(error, attempt, options);
      }
    }
  }

  /** Each entry that arrives begins the count of attempts anew. */
  async *#resume<T>(
    options: RequestOptions,
    run: (inner: Store) => AsyncGenerator<T>,
  ): AsyncGenerator<T> {
    for (let attempt = 1;; attempt++) {
      try {
        for await (const entry of run(this.#inner)) {
          attempt = 1;
          yield entry;
        }
        return;
      } catch (error) {
        await this.#pause(error, attempt, options);
      }
    }
  }

  /**
   * Waits before the next attempt, or throws `error` where there shall be none. "Full jitter": any delay from zero to
   * a bound that doubles, so that many hosts that failed together do not come back together.
   */
  async #pause(error: unknown, attempt: number, options: RequestOptions | undefined): Promise<void> {
    if (!(error instanceof StoreError) || !error.retryable || attempt >= this.#attemptsMax) throw error;
    const { onRetry, sleep, random } = this.#options;
    const delayMs = random() * Math.min(DELAY_MAX_MS, FIRST_DELAY_MAX_MS * 2 ** (attempt - 1));
    const delay = (delayMs / 1000).toFixed(1);
    onRetry(`Retry ${attempt} of ${this.#attemptsMax - 1} in ${delay} s: ${describeError(error)}`);
    await sleep(delayMs, options?.signal);
    await options?.beforeRetry?.();
  }
}
