/**
 * The only place of retries: a store over a store that tries again what may succeed later. All its requests together tell
 * whether the store is away: it is waited for until it has answered nothing well for `retryForMs`, however many
 * requests are under way. A request that fails while others are answered is given up by itself.
 */
import { describeError, MissingError, StoreError, UnavailableError } from "../../errors.ts";
import { counted } from "../../util/counted.ts";
import { Outage } from "./outage.ts";
import { PROGRESS_LIMIT_MS } from "../progress_limit.ts";
import { RunningTime } from "./running_time.ts";
import { formatSpan } from "./span.ts";
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  ObjectVersions,
  PutOptions,
  RequestOptions,
  Store,
} from "../store.ts";

/** How long a store that answers nothing well is waited for, unless the operator says otherwise. */
export const RETRY_FOR_MS = 15 * 60_000;
/** Upper bound of the first delay; it doubles with each attempt. */
export const FIRST_DELAY_MAX_MS = 500;
/** Upper bound of every delay that the store did not ask for. */
export const DELAY_MAX_MS = 10_000;
/** What fails alone and can be done without (one object to read, one key to delete) is tried for so long at most. */
export const ALONE_MAX_MS = 120_000;
/** ... but so often at least, however short `retryForMs` is. */
export const ALONE_ATTEMPTS_MIN = 5;
/** From this failure on, where no other request tells whether the store is there, one is made that does. */
const PROBE_FROM = 3;
/** Any key does: that it is missing, or refused, is an answer, too. */
const PROBE_KEY = "varve.json";
/** An outage that is over sooner is not worth a line. */
const TELL_AFTER_MS = 5000;

interface RetryOptions {
  /** Told each attempt that failed (`debug`), and when the store goes, stays away and is back (`warn`). */
  onRetry: (line: string, level: "debug" | "warn") => void;
  /** Waits, and rejects early when the signal aborts. */
  sleep: (delayMs: number, signal?: AbortSignal) => Promise<unknown>;
  /** A number from 0 up to, and without, 1. */
  random: () => number;
  /** Milliseconds of a clock that never goes back. */
  now?: () => number;
  /** Milliseconds since 1970, for the operator to read. */
  wallClock?: () => number;
  retryForMs?: number | undefined;
  /** How long one attempt may go without a sign of progress. */
  silenceMs?: number | undefined;
}

/** One request and its attempts so far. */
interface Attempts {
  count: number;
  /** When the attempt that is under way began. */
  startedMs: number;
  /** The store's answers when it began, and when the attempt before did. */
  answers: number;
  answersBefore: number;
  /** Since when it fails while others are answered. */
  alone: RunningTime | undefined;
  /** What is to be read. */
  key?: string | undefined;
  /** The work can go on without it: one object to read, one key to delete. */
  canSpare: boolean;
  options: RequestOptions | undefined;
}

export class RetryStore implements Store {
  readonly #inner: Store;
  readonly #options: RetryOptions;
  readonly #outage: Outage;
  readonly #retryForMs: number;
  /** A short patience has short delays, or the last of them would be the most of it. */
  readonly #delayMaxMs: number;
  /** The longest that this process hears nothing of a request while it runs. */
  readonly #longestMs: number;
  readonly #closed = new AbortController();
  #isProbing = false;
  /** The store was waited for in vain: nothing else waits for it once more. */
  #isGivenUp = false;

  constructor(inner: Store, options: RetryOptions) {
    this.#inner = inner;
    this.#options = options;
    this.#retryForMs = options.retryForMs ?? RETRY_FOR_MS;
    this.#delayMaxMs = Math.min(DELAY_MAX_MS, Math.max(FIRST_DELAY_MAX_MS, this.#retryForMs / 4));
    this.#longestMs = (options.silenceMs ?? PROGRESS_LIMIT_MS) + DELAY_MAX_MS;
    this.#outage = new Outage({
      name: this.host,
      retryForMs: this.#retryForMs,
      onLine: (line) => options.onRetry(line, "warn"),
    });
  }

  get url(): string {
    return this.#inner.url;
  }

  get host(): string {
    return this.#inner.host ?? this.#inner.url;
  }

  get caveat(): string | undefined {
    return this.#inner.caveat;
  }

  get history(): ObjectVersions | undefined {
    const inner = this.#inner.history;
    return inner && {
      page: (prefix, options) => this.#retry({ options }, () => inner.page(prefix, options)),
      remove: (traces, options) => this.#retry({ options }, () => inner.remove(traces, options)),
      lockOf: (trace, options) => this.#retry({ options }, () => inner.lockOf(trace, options)),
    };
  }

  get(key: string, options?: GetOptions): Promise<Uint8Array> {
    return this.#retry({ key, options }, () => this.#inner.get(key, options));
  }

  put(key: string, body: Uint8Array, options?: PutOptions): Promise<void> {
    return this.#retry({ options }, () => this.#inner.put(key, body, options));
  }

  head(key: string, options?: RequestOptions): Promise<ObjectInfo | undefined> {
    return this.#retry({ key, options }, () => this.#inner.head(key, options));
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
    const attempts = this.#begin({ options, canSpare: true });
    for (let left = keys;;) {
      const failures = await this.#retry({ options }, () => this.#inner.delete(left, options));
      refused.push(...failures.filter((failure) => failure.refused));
      const passing = failures.filter((failure) => !failure.refused);
      const [first] = passing;
      if (first === undefined) return refused;
      left = passing.map(({ key }) => key);
      const message = `Cannot delete "${this.url}/${first.key}": ${first.reason}`;
      const error = new StoreError(message, { retryable: true });
      if (this.#isHopelessAlone(error, attempts)) return [...refused, ...passing];
      await this.#wait(error, attempts);
    }
  }

  close(): Promise<void> {
    this.#closed.abort();
    return this.#inner.close();
  }

  async #retry<T>(request: Pick<Attempts, "key" | "options">, run: () => Promise<T>): Promise<T> {
    const attempts = this.#begin(request);
    for (;;) {
      try {
        const result = await run();
        this.#answered();
        return result;
      } catch (error) {
        await this.#pause(error, attempts);
      }
    }
  }

  /** Each entry that arrives begins the count of attempts anew. */
  async *#resume<T>(
    options: RequestOptions,
    run: (inner: Store) => AsyncGenerator<T>,
  ): AsyncGenerator<T> {
    let attempts = this.#begin({ options });
    for (;;) {
      let isAnswered = false;
      try {
        for await (const entry of run(this.#inner)) {
          if (!isAnswered) this.#answered(); // entries of one page are one answer, however long they are taken
          isAnswered = true;
          yield entry;
          attempts = this.#begin({ options }); // whoever takes the entries may take his time
        }
        return this.#answered();
      } catch (error) {
        await this.#pause(error, attempts);
      }
    }
  }

  #begin(request: Partial<Attempts>): Attempts {
    const { key, options, canSpare = key !== undefined } = request;
    const nowMs = this.#now();
    const { answers } = this.#outage;
    return {
      ...{ count: 1, startedMs: nowMs, answers, answersBefore: answers },
      ...{ alone: undefined, key, options, canSpare },
    };
  }

  /** Waits before the next attempt, or throws where there shall be none. */
  async #pause(error: unknown, attempts: Attempts): Promise<void> {
    if (!(error instanceof StoreError) || !error.retryable) {
      if (error instanceof StoreError || error instanceof MissingError) this.#answered();
      throw error;
    }
    // Whether the store answers others, while it fails this request.
    if (this.#outage.answers > attempts.answersBefore) {
      if (this.#isHopelessAlone(error, attempts)) throw givenUp(error, attempts);
    } else {
      this.#waitForStore(error, attempts);
    }
    if (attempts.count >= PROBE_FROM && this.#outage.answers === attempts.answers) void this.#probe();
    await this.#wait(error, attempts);
  }

  /** Any definite answer says that the store is there. */
  async #probe(): Promise<void> {
    if (this.#isProbing) return;
    this.#isProbing = true;
    try {
      await this.#inner.head(PROBE_KEY, { signal: this.#closed.signal });
      this.#answered();
    } catch (error) {
      if (error instanceof StoreError && !error.retryable) this.#answered();
    } finally {
      this.#isProbing = false;
    }
  }

  #isHopelessAlone(error: StoreError, attempts: Attempts): boolean {
    const nowMs = this.#now();
    attempts.alone ??= new RunningTime(attempts.startedMs);
    attempts.alone.pass(nowMs, this.#longestMs);
    const limitMs = attempts.canSpare ? Math.min(ALONE_MAX_MS, this.#retryForMs) : this.#retryForMs;
    const isHopeless = attempts.count >= ALONE_ATTEMPTS_MIN && attempts.alone.countedMs >= limitMs;
    const staysFailing = attempts.count > ALONE_ATTEMPTS_MIN;
    if (!isHopeless && staysFailing) this.#outage.tellFailing(error, { nowMs, untilMs: limitMs });
    return isHopeless;
  }

  /** Throws where the store has been waited for long enough, and was asked for something else, too. */
  #waitForStore(error: StoreError, attempts: Attempts): void {
    const nowMs = this.#now();
    attempts.alone = undefined;
    this.#outage.failed(error, { startedMs: attempts.startedMs, nowMs, longestMs: this.#longestMs });
    const { awayMs } = this.#outage;
    this.#isGivenUp ||= awayMs >= this.#retryForMs && attempts.count > PROBE_FROM;
    if (this.#isGivenUp) throw this.#awayError(error, nowMs);
    if (awayMs >= TELL_AFTER_MS) this.#outage.tellAway(nowMs);
  }

  #awayError(error: StoreError, nowMs: number): StoreError {
    const sinceMs = this.#outage.sinceMs ?? nowMs;
    const since = new Date((this.#options.wallClock ?? Date.now)() - (nowMs - sinceMs));
    const time = since.toISOString().replace("T", " ").replace(/\..*$/, " UTC");
    const message = `${error.message}; no request succeeded since ${time}, for more than ` +
      `${formatSpan(this.#retryForMs)} (--retry-for)`;
    return withMessage(message, error);
  }

  /**
   * "Full jitter": any delay from zero to a bound that doubles, so that many hosts that failed together do not come back
   * together; but no less than the store asked for.
   */
  async #wait(error: StoreError, attempts: Attempts): Promise<void> {
    const { onRetry, sleep, random } = this.#options;
    const boundMs = Math.min(this.#delayMaxMs, FIRST_DELAY_MAX_MS * 2 ** (attempts.count - 1));
    const askedMs = Math.min(error.retryAfterMs ?? 0, this.#retryForMs);
    const delayMs = askedMs + random() * boundMs;
    onRetry(
      `Attempt ${attempts.count} failed, the next in ${(delayMs / 1000).toFixed(1)} s: ${
        describeError(error)
      }`,
      "debug",
    );
    await sleep(delayMs, attempts.options?.signal);
    const longestMs = delayMs + this.#longestMs;
    this.#outage.pass(this.#now(), longestMs);
    attempts.alone?.pass(this.#now(), longestMs);
    await attempts.options?.beforeRetry?.();
    attempts.count++;
    attempts.answersBefore = attempts.answers;
    attempts.answers = this.#outage.answers;
    attempts.startedMs = this.#now();
  }

  #answered(): void {
    this.#isGivenUp = false;
    this.#outage.good(this.#now());
  }

  #now(): number {
    return (this.#options.now ?? performance.now.bind(performance))();
  }
}

/** The error of one request: of an object that cannot be read, or of what the store did not do. */
function givenUp(error: StoreError, { key, count, alone }: Attempts): StoreError {
  const message = `${error.message} (${counted(count, "attempt")} in ${formatSpan(alone?.countedMs ?? 0)})`;
  if (key === undefined) return withMessage(message, error);
  return new UnavailableError(key, message, { cause: error.cause });
}

/** What the last attempt ended with may still pass: whoever asks later may be answered. */
function withMessage(message: string, { isFull, retryAfterMs, cause }: StoreError): StoreError {
  return new StoreError(message, { retryable: true, isFull, retryAfterMs, cause });
}
