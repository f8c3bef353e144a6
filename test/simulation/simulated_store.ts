/**
 * The store as one process sees it: each request and its reply are steps of the scheduler. Requests fail, are done without
 * a reply, are done twice, or arrive after the process gave them up; the pages of a listing are not one moment. Some
 * answers are wrong: see `lies.ts`.
 */
import { MissingError, StoreError } from "../../src/errors.ts";
import { Liar } from "./lies.ts";
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  RequestOptions,
  Store,
} from "../../src/store/store.ts";
import type { Objects, StoredObject } from "./objects.ts";
import { type Heard, type Process, type Scheduler, UNDER_WAY_MS } from "./scheduler.ts";

export interface Faults {
  /** Of 10,000 requests, those to which one of the faults happens. */
  faulty: number;
  /** Only to these; without it, to any. */
  at?: RegExp;
  /** Of 10,000 requests, those that take hours. */
  slow: number;
  /** Of 10,000 answers, those that are wrong. */
  lies?: number;
  /** Only about these keys and prefixes. */
  liesAbout?: RegExp;
  /** They all say that nothing is there. */
  denies?: boolean;
  /** Keys that a page of a listing has at most. */
  pageKeys: number;
}

export interface Reach {
  objects: Objects;
  /** Before each key in the trace. */
  place?: string;
  scheduler: Scheduler;
  process: Process;
  faults: () => Faults;
}

const KINDS = ["failed", "lost", "late", "twice"] as const;

export class SimulatedStore implements Store {
  readonly url = "simulated:";
  readonly #reach: Reach;
  readonly #liar: Liar;
  readonly #place: string;

  constructor(reach: Reach) {
    this.#reach = reach;
    this.#liar = new Liar(reach);
    this.#place = reach.place ?? "";
  }

  get(key: string, { range, signal }: GetOptions = {}): Promise<Uint8Array> {
    return this.#request(`get ${this.#place}${key}`, signal, () => {
      const bytes = this.#liar.bytesOf(key);
      if (bytes === undefined) throw new MissingError(key, `Cannot read "${key}": no such object`);
      return bytes.slice(range?.offset ?? 0, range && range.offset + range.length);
    });
  }

  put(key: string, body: Uint8Array, { signal }: RequestOptions = {}): Promise<void> {
    const bytes = new Uint8Array(body);
    return this.#request(`put ${this.#place}${key}`, signal, ({ objects, scheduler }) => {
      if (this.#liar.loses(key)) return;
      objects.put(key, { bytes, modifiedMs: scheduler.nowMs });
    });
  }

  head(key: string, { signal }: RequestOptions = {}): Promise<ObjectInfo | undefined> {
    return this.#request(`head ${this.#place}${key}`, signal, () => infoOf(key, this.#liar.objectOf(key)));
  }

  /** Where nothing is that is no step: most of the many parts of a listing by prefix are empty. */
  async *list(prefix: string, { after = "", signal }: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    const { objects } = this.#reach;
    if (prefix.includes("/chunks/") && objects.page(prefix, { after, limit: 1 }).length === 0) return;
    for (let last: string | undefined = after; last !== undefined;) {
      const limit = this.#reach.faults().pageKeys;
      const page: ObjectInfo[] = await this.#request(
        `list ${this.#place}${prefix} after ${last.slice(prefix.length)}`,
        signal,
        () => this.#liar.page(prefix, { after: last!, limit }).map(([key, object]) => infoOf(key, object)!),
      );
      yield* page;
      last = page.length < limit ? undefined : page.at(-1)!.key;
    }
  }

  /** Of projects, for messages: they are not looked at. */
  async *folders(): AsyncGenerator<string> {}

  delete(keys: readonly string[], { signal }: RequestOptions = {}): Promise<DeleteFailure[]> {
    const copy = [...keys];
    return this.#request(
      `delete ${copy.map((key) => this.#place + key).join(" ")}`,
      signal,
      ({ objects, scheduler }) => {
        for (const key of copy) if (!this.#liar.loses(key)) objects.delete(key, scheduler.nowMs);
        return [];
      },
    );
  }

  async close(): Promise<void> {}

  /** `work` is what the store does, at one moment. */
  #request<T>(label: string, signal: AbortSignal | undefined, work: (reach: Reach) => T): Promise<T> {
    const { scheduler, process, faults } = this.#reach;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (!process.isAlive) return promise;
    const onAbort = () => reject(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const reply = (text: string, heard: Heard) =>
      scheduler.reply(process, `${text}: ${label}`, () => {
        signal?.removeEventListener("abort", onAbort);
        process.hears(label, heard);
        if ("error" in heard) reject(heard.error);
        else resolve(copyOf(heard.value) as T);
      });
    const recalled = process.recalls(label);
    if (recalled !== undefined) {
      reply("recalls", recalled);
      return promise;
    }
    const answer = (result: () => T) => {
      try {
        reply("done", { value: result() });
      } catch (error) {
        reply("answered", { error });
      }
    };
    const give = (text: string) =>
      reply(text, { error: new StoreError(`Cannot reach the store: ${text}`, { retryable: true }) });
    const { faulty, slow, at } = faults();
    const fault = (at === undefined || at.test(label)) && scheduler.happens(faulty, label)
      ? KINDS[scheduler.random(KINDS.length)]
      : undefined;
    if (fault !== undefined) process.metFaults = true;
    const send = (run: () => void) => {
      const start = () => scheduler.request(process, `${fault ?? "does"}: ${label}`, run);
      if (scheduler.happens(slow, label)) scheduler.later(scheduler.random(UNDER_WAY_MS), start);
      else start();
    };
    switch (fault) {
      case undefined:
        send(() => answer(() => work(this.#reach)));
        break;
      case "failed":
        give("failed");
        break;
      case "lost":
        send(() => {
          quietly(() => work(this.#reach));
          give("lost the reply");
        });
        break;
      case "late":
        give("timed out");
        scheduler.later(scheduler.random(UNDER_WAY_MS), () => {
          scheduler.note(process, `(late) ${label}`);
          quietly(() => work(this.#reach));
        });
        break;
      case "twice":
        send(() => {
          quietly(() => work(this.#reach));
          scheduler.request(process, `again: ${label}`, () => answer(() => work(this.#reach)));
        });
    }
    return promise;
  }
}

function infoOf(key: string, object: StoredObject | undefined): ObjectInfo | undefined {
  return object && { key, sizeBytes: object.bytes.length, modifiedMs: object.modifiedMs };
}

/** Whoever gets bytes may write into them. */
function copyOf(value: unknown): unknown {
  return value instanceof Uint8Array ? value.slice() : value;
}

/** Nobody hears the answer. */
function quietly(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof MissingError)) throw error;
  }
}
