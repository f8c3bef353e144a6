/** A store that reports each request to the store below it, for `--log-level trace`. A retry is a request of its own. */
import { describeError, MissingError } from "../../errors.ts";
import type { ObjectVersions, RequestOptions, Store } from "../store.ts";

export interface StoreRequest {
  method: "get" | "put" | "head" | "list" | "folders" | "delete" | "versions" | "remove" | "lock";
  /** The object, the prefix of a listing, or the first object of several. */
  key: string;
  /** The first byte of the range that a get asks for. */
  offset?: number;
  /** How many objects were to be deleted, or were listed. */
  count?: number;
  /** The bytes that were sent or received; of a head, the object's size. */
  bytes?: number;
  /** Milliseconds until the answer. Those of a listing leave out the time in which nobody asked for more. */
  ms: number;
  /** `missing`: the store answered that there is no such object. */
  outcome: "done" | "missing" | "aborted" | "failed";
  /** The error of a request that failed. */
  reason?: string;
}

interface TraceOptions {
  /** Receives each request when it has ended. No field holds a secret. */
  onRequest: (request: StoreRequest) => void;
  /** Milliseconds of a clock that never goes back. */
  now: () => number;
}

type Begun = Pick<StoreRequest, "method" | "key" | "offset" | "count" | "bytes">;
type Ended = Partial<Pick<StoreRequest, "count" | "bytes" | "outcome" | "reason">>;

/** A store that does what `store` does. */
export function traceRequests(store: Store, options: TraceOptions): Store {
  const tracer = new Tracer(options);
  return {
    url: store.url,
    host: store.host,
    get caveat() {
      return store.caveat;
    },
    get history() {
      return store.history && traceVersions(store.history, tracer);
    },
    get(key, options) {
      const range = options?.range;
      const begun: Begun = { method: "get", key, ...(range && { offset: range.offset }) };
      return tracer.run(begun, options, () => store.get(key, options), ({ length }) => ({ bytes: length }));
    },
    put(key, body, options) {
      const begun: Begun = { method: "put", key, bytes: body.length };
      return tracer.run(begun, options, () => store.put(key, body, options));
    },
    head(key, options) {
      return tracer.run(
        { method: "head", key },
        options,
        () => store.head(key, options),
        (info) => info === undefined ? { outcome: "missing" } : { bytes: info.sizeBytes },
      );
    },
    list(prefix, options) {
      return tracer.walk({ method: "list", key: prefix }, options, store.list(prefix, options));
    },
    folders(prefix, options) {
      return tracer.walk({ method: "folders", key: prefix }, options, store.folders(prefix, options));
    },
    delete(keys, options) {
      const begun: Begun = { method: "delete", key: keys[0] ?? "", count: keys.length };
      return tracer.run(begun, options, () => store.delete(keys, options));
    },
    close: () => store.close(),
  };
}

function traceVersions(versions: ObjectVersions, tracer: Tracer): ObjectVersions {
  return {
    page(prefix, options) {
      return tracer.run(
        { method: "versions", key: prefix },
        options,
        () => versions.page(prefix, options),
        ({ traces }) => ({ count: traces.length }),
      );
    },
    remove(traces, options) {
      const begun: Begun = { method: "remove", key: traces[0]?.key ?? "", count: traces.length };
      return tracer.run(begun, options, () => versions.remove(traces, options));
    },
    lockOf(trace, options) {
      const begun: Begun = { method: "lock", key: trace.key };
      return tracer.run(begun, options, () => versions.lockOf(trace, options));
    },
  };
}

class Tracer {
  readonly #options: TraceOptions;

  constructor(options: TraceOptions) {
    this.#options = options;
  }

  /** Sends one request; `ended` takes from its result what the report shows. */
  async run<T>(
    begun: Begun,
    options: RequestOptions | undefined,
    send: () => Promise<T>,
    ended: (result: T) => Ended = () => ({}),
  ): Promise<T> {
    const startMs = this.#options.now();
    const report = (end: Ended) => this.#report(begun, end, this.#options.now() - startMs);
    try {
      const result = await send();
      report(ended(result));
      return result;
    } catch (error) {
      report(failure(error, options));
      throw error;
    }
  }

  /** Passes on the entries of a listing, and reports it once it has ended or is left. */
  async *walk<T>(
    begun: Begun,
    options: RequestOptions | undefined,
    entries: AsyncGenerator<T>,
  ): AsyncGenerator<T> {
    const { now } = this.#options;
    let [count, ms] = [0, 0];
    let end: Ended = {};
    try {
      for (;;) {
        const startMs = now();
        const next = await entries.next().finally(() => ms += now() - startMs);
        if (next.done) return;
        count++;
        yield next.value;
      }
    } catch (error) {
      end = failure(error, options);
      throw error;
    } finally {
      await entries.return(undefined);
      this.#report(begun, { count, ...end }, ms);
    }
  }

  #report(begun: Begun, { outcome = "done", reason, ...facts }: Ended, ms: number): void {
    const end = { ms: Math.round(ms), outcome, ...(reason !== undefined && { reason }) };
    this.#options.onRequest({ ...begun, ...facts, ...end });
  }
}

function failure(error: unknown, options: RequestOptions | undefined): Ended {
  if (error instanceof MissingError) return { outcome: "missing" };
  if (options?.signal?.aborted) return { outcome: "aborted" };
  return { outcome: "failed", reason: describeError(error) };
}
