import { describe, expect, test } from "bun:test";
import { InterruptedError, MissingError } from "../../src/errors.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { ATTEMPTS_MAX, DELAY_MAX_MS, FIRST_DELAY_MAX_MS, RetryStore } from "../../src/store/retry.ts";
import type { DeleteFailure } from "../../src/store/store.ts";
import { bytes, describeContract, keysOf, rejection } from "./contract.ts";
import { type Call, type Fault, FaultyStore, refused, unavailable } from "./faulty_store.ts";

/** A `RetryStore` over memory with faults, of which every line and delay is kept. */
function retrying(
  faultOf: (call: Call) => Fault | undefined,
  { random = () => 0.5 as number, inner = new MemoryStore(), attemptsMax }: {
    random?: () => number;
    inner?: MemoryStore;
    attemptsMax?: number;
  } = {},
) {
  const faulty = new FaultyStore(inner, faultOf);
  const lines: string[] = [];
  const delays: number[] = [];
  const sleep = (delayMs: number, signal?: AbortSignal) => {
    delays.push(delayMs);
    signal?.throwIfAborted();
    return Promise.resolve();
  };
  const store = new RetryStore(faulty, { onRetry: (line) => lines.push(line), sleep, random, attemptsMax });
  return { store, faulty, inner, lines, delays };
}

const failing = (error: () => Error, times: number) => ({ index }: Call): Fault | undefined =>
  index < times ? { kind: "fail", error: error() } : undefined;

describeContract("RetryStore", async () => ({ store: retrying(() => undefined).store }));

describe("RetryStore", () => {
  test("put() succeeds with one line for each retry when the store fails for a while", async () => {
    const { store, inner, lines, delays } = retrying(failing(unavailable, 2));
    await store.put("a", bytes("x"));
    expect(await inner.get("a")).toEqual(bytes("x"));
    expect(lines).toEqual([
      'Retry 1 of 9 in 0.3 s: Cannot reach "the store": it answered 500',
      'Retry 2 of 9 in 0.5 s: Cannot reach "the store": it answered 500',
    ]);
    expect(delays).toEqual([FIRST_DELAY_MAX_MS / 2, FIRST_DELAY_MAX_MS]);
  });
  test("put() and delete() ask before each further attempt, and end with what that throws", async () => {
    for (const request of ["put", "delete"] as const) {
      const { store, faulty } = retrying(failing(unavailable, 99));
      const error = new InterruptedError();
      let asked = 0;
      const beforeRetry = () => {
        if (++asked === 3) throw error;
      };
      const work = request === "put"
        ? store.put("a", bytes("x"), { beforeRetry })
        : store.delete(["a"], { beforeRetry });
      expect(await rejection(work)).toBe(error);
      expect(faulty.calls.length).toBe(3);
    }
  });
  test("get() throws the error at once when it is final", async () => {
    const error = refused();
    const { store, faulty, lines } = retrying(failing(() => error, 99));
    expect(await rejection(store.get("a"))).toBe(error);
    expect(faulty.calls.length).toBe(1);
    expect(lines).toEqual([]);
  });
  test("get() does not try again when the object is missing", async () => {
    const { store, faulty } = retrying(() => undefined);
    expect(await rejection(store.get("a"))).toBeInstanceOf(MissingError);
    expect(await store.head("a")).toBeUndefined();
    expect(faulty.calls.length).toBe(2);
  });
  test("head() throws the last error when every attempt fails", async () => {
    const { store, faulty, lines, delays } = retrying(failing(unavailable, 99), { random: () => 0.999 });
    expect(await rejection(store.head("a"))).toMatchObject({ retryable: true });
    expect(faulty.calls.length).toBe(ATTEMPTS_MAX);
    expect(lines.length).toBe(ATTEMPTS_MAX - 1);
    expect(delays.toSorted((a, b) => a - b)).toEqual(delays);
    expect(Math.max(...delays)).toBeLessThan(DELAY_MAX_MS);
    expect(Math.max(...delays)).toBeGreaterThan(DELAY_MAX_MS * 0.99);
  });
  test.each([[1, 0], [3, 2]])("head() makes %d attempts when it is told so", async (attemptsMax, retries) => {
    const { store, faulty, lines } = retrying(failing(unavailable, 99), { attemptsMax });
    expect(await rejection(store.head("a"))).toMatchObject({ retryable: true });
    expect(faulty.calls.length).toBe(attemptsMax);
    expect(lines.map((line) => line.slice(0, 12))).toEqual(
      ["Retry 1 of 2", "Retry 2 of 2"].slice(0, retries),
    );
  });
  test("put() writes again when the answer was lost", async () => {
    const { store, inner } = retrying(({ index }) =>
      index === 0 ? { kind: "lost", error: unavailable() } : undefined
    );
    await store.put("a", bytes("x"));
    expect(await inner.get("a")).toEqual(bytes("x"));
  });
  test("list() tells every key once when it breaks off behind each of them", async () => {
    const { store, inner, lines } = retrying(() => ({ kind: "lost", error: unavailable() }));
    const keys = Array.from(
      { length: 2 * ATTEMPTS_MAX },
      (_, index) => `l/${String.fromCharCode(97 + index)}`,
    );
    for (const key of keys) await inner.put(key, bytes("x"));
    expect(await keysOf(store, "l/")).toEqual(keys);
    expect(lines.length).toBe(keys.length);
  });
  test("folders() tells every folder once when it breaks off in the middle", async () => {
    const { store, inner } = retrying(({ index }) =>
      index === 0 ? { kind: "lost", error: unavailable() } : undefined
    );
    for (const key of ["f/a-b/1", "f/a/1", "f/b/1"]) await inner.put(key, bytes("x"));
    expect(await Array.fromAsync(store.folders("f/"))).toEqual(["a-b", "a", "b"]);
  });
  test("the wait ends with the signal's reason when it is aborted", async () => {
    const controller = new AbortController();
    const reason = new InterruptedError();
    const { store, faulty } = retrying(({ index }) => {
      if (index === 1) controller.abort(reason);
      return { kind: "fail", error: unavailable() };
    });
    expect(await rejection(store.get("a", { signal: controller.signal }))).toBe(reason);
    expect(faulty.calls.length).toBe(2);
  });
  test("a hanging request ends with the signal's reason when it is aborted", async () => {
    const { store } = retrying(() => ({ kind: "hang" }));
    const controller = new AbortController();
    const reason = new InterruptedError();
    const hanging = [
      store.get("a", { signal: controller.signal }),
      store.list("a", { signal: controller.signal }).next(),
    ].map(rejection);
    controller.abort(reason);
    expect(await Promise.all(hanging)).toEqual([reason, reason]);
  });
});

/** Leaves keys behind as it is told, each once. */
class StickyStore extends MemoryStore {
  readonly asked: (readonly string[])[] = [];
  readonly #failures: DeleteFailure[][];

  constructor(failures: DeleteFailure[][]) {
    super();
    this.#failures = failures;
  }

  override delete(keys: readonly string[]): Promise<DeleteFailure[]> {
    this.asked.push(keys);
    return Promise.resolve(this.#failures[this.asked.length - 1] ?? []);
  }
}

describe("RetryStore.delete()", () => {
  const passing = (key: string) => ({ key, refused: false, reason: "InternalError" });
  const denied = (key: string) => ({ key, refused: true, reason: "AccessDenied" });

  test("tries again only those keys whose reason may pass", async () => {
    const inner = new StickyStore([[passing("b"), denied("c")], []]);
    const { store, lines } = retrying(() => undefined, { inner });
    expect(await store.delete(["a", "b", "c"])).toEqual([denied("c")]);
    expect(inner.asked).toEqual([["a", "b", "c"], ["b"]]);
    expect(lines).toEqual(['Retry 1 of 9 in 0.3 s: Cannot delete "memory:/b": InternalError']);
  });
  test("tells the keys that remain when every attempt leaves them", async () => {
    const inner = new StickyStore(Array.from({ length: 99 }, () => [passing("b")]));
    const { store } = retrying(() => undefined, { inner });
    expect(await store.delete(["a", "b"])).toEqual([passing("b")]);
    expect(inner.asked.length).toBe(ATTEMPTS_MAX);
  });
});
