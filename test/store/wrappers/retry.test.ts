import { describe, expect, test } from "bun:test";
import { InterruptedError, MissingError, StoreError, UnavailableError } from "../../../src/errors.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import {
  ALONE_ATTEMPTS_MIN,
  ALONE_MAX_MS,
  DELAY_MAX_MS,
  FIRST_DELAY_MAX_MS,
  RETRY_FOR_MS,
  RetryStore,
} from "../../../src/store/wrappers/retry.ts";
import type { DeleteFailure } from "../../../src/store/store.ts";
import { VirtualClock } from "../../kit/virtual_clock.ts";
import { rejection } from "../../kit/rejection.ts";
import { bytes, describeContract, keysOf } from "../../kit/store_contract.ts";
import { type Call, type Fault, FaultyStore, refused, unavailable } from "../../kit/faulty_store.ts";

const HOUR_MS = 3600_000;
/** What the clock of the wall shows at the virtual clock's zero. */
const EPOCH_MS = Date.UTC(2026, 10, 28, 18);

/** A `RetryStore` over memory with faults, whose time is virtual, and of which every line and delay is kept. */
function retrying(
  faultOf: (call: Call, nowMs: number) => Fault | undefined,
  { random = () => 0.5 as number, inner = new MemoryStore(), retryForMs }: {
    random?: () => number;
    inner?: MemoryStore;
    retryForMs?: number;
  } = {},
) {
  const clock = new VirtualClock();
  const faulty = new FaultyStore(inner, (call) => faultOf(call, clock.nowMs));
  /** For the operator. */
  const lines: string[] = [];
  /** For whoever looks for an error. */
  const details: string[] = [];
  const store = new RetryStore(faulty, {
    onRetry: (line, level) => void (level === "warn" ? lines : details).push(line),
    sleep: clock.sleep,
    random,
    now: () => clock.nowMs,
    wallClock: () => EPOCH_MS + clock.nowMs,
    retryForMs,
  });
  return { store, faulty, inner, lines, details, clock, delays: clock.delays };
}

/** A request takes a millisecond: so it is later than the one before. */
const failing = (error: () => Error, times: number) => ({ index }: Call): Fault | undefined =>
  index < times ? { kind: "fail", error: error() } : undefined;
/** The store answers nothing before `untilMs`. */
const awayUntil = (untilMs: number) => (_: Call, nowMs: number): Fault | undefined =>
  nowMs < untilMs ? { kind: "fail", error: unavailable() } : undefined;

describeContract("RetryStore", async () => ({ store: retrying(() => undefined).store }));

describe("RetryStore", () => {
  test("put() succeeds without a line for the operator when the store fails for a moment", async () => {
    const { store, inner, clock, lines, details, delays } = retrying(failing(unavailable, 2));
    await clock.run(store.put("a", bytes("x")));
    expect(await inner.get("a")).toEqual(bytes("x"));
    expect(lines).toEqual([]);
    expect(details).toEqual([
      'Attempt 1 failed, the next in 0.3 s: Cannot reach "the store": it answered 500',
      'Attempt 2 failed, the next in 0.5 s: Cannot reach "the store": it answered 500',
    ]);
    expect(delays).toEqual([FIRST_DELAY_MAX_MS / 2, FIRST_DELAY_MAX_MS]);
  });
  test("put() and delete() ask before each further attempt, and end with what that throws", async () => {
    for (const request of ["put", "delete"] as const) {
      const { store, faulty, clock } = retrying(failing(unavailable, 99));
      const error = new InterruptedError();
      let asked = 0;
      const beforeRetry = () => {
        if (++asked === 3) throw error;
      };
      const work = request === "put"
        ? store.put("a", bytes("x"), { beforeRetry })
        : store.delete(["a"], { beforeRetry });
      expect(await rejection(clock.run<unknown>(work))).toBe(error);
      expect(faulty.calls.filter(({ method }) => method === request).length).toBe(3);
    }
  });
  test("get() throws the error at once when it is final", async () => {
    const error = refused();
    const { store, faulty, lines, details } = retrying(failing(() => error, 99));
    expect(await rejection(store.get("a"))).toBe(error);
    expect(faulty.calls.length).toBe(1);
    expect([lines, details]).toEqual([[], []]);
  });
  test("get() does not try again when the object is missing", async () => {
    const { store, faulty } = retrying(() => undefined);
    expect(await rejection(store.get("a"))).toBeInstanceOf(MissingError);
    expect(await store.head("a")).toBeUndefined();
    expect(faulty.calls.length).toBe(2);
  });
  test("delays double up to a bound, and are any part of it", async () => {
    const { store, clock, delays } = retrying(awayUntil(HOUR_MS), { random: () => 0.999 });
    await rejection(clock.run(store.head("a")));
    expect(delays.toSorted((a, b) => a - b)).toEqual(delays);
    expect(Math.max(...delays)).toBeLessThan(DELAY_MAX_MS);
    expect(Math.max(...delays)).toBeGreaterThan(DELAY_MAX_MS * 0.99);
    expect(delays[0]).toBeLessThan(FIRST_DELAY_MAX_MS);
  });
  test("an attempt waits at least as long as the store asks for", async () => {
    const error = () =>
      new StoreError('Cannot read "a": slow down', { retryable: true, retryAfterMs: 40_000 });
    const { store, clock, delays } = retrying(failing(error, 2));
    await clock.run(store.put("a", bytes("x")));
    expect(delays).toEqual([40_250, 40_500]);
  });
  test("an attempt waits no longer than the operator would, whatever the store asks for", async () => {
    const error = () => new StoreError("", { retryable: true, retryAfterMs: 24 * HOUR_MS });
    const { store, clock, delays } = retrying(failing(error, 1), { retryForMs: 5000 });
    await clock.run(store.put("a", bytes("x")));
    expect(delays).toEqual([5250]);
  });
  test("put() writes again when the answer was lost", async () => {
    const { store, inner, clock } = retrying(({ index }) =>
      index === 0 ? { kind: "lost", error: unavailable() } : undefined
    );
    await clock.run(store.put("a", bytes("x")));
    expect(await inner.get("a")).toEqual(bytes("x"));
  });
  test("list() tells every key once when it breaks off behind each of them", async () => {
    const { store, inner, clock, details } = retrying(({ method }) =>
      method === "list" ? { kind: "lost", error: unavailable() } : undefined
    );
    const keys = Array.from({ length: 20 }, (_, index) => `l/${String.fromCharCode(97 + index)}`);
    for (const key of keys) await inner.put(key, bytes("x"));
    expect(await clock.run(keysOf(store, "l/"))).toEqual(keys);
    expect(details.length).toBe(keys.length);
  });
  test("folders() tells every folder once when it breaks off in the middle", async () => {
    const { store, inner, clock } = retrying(({ index }) =>
      index === 0 ? { kind: "lost", error: unavailable() } : undefined
    );
    for (const key of ["f/a-b/1", "f/a/1", "f/b/1"]) await inner.put(key, bytes("x"));
    expect(await clock.run(Array.fromAsync(store.folders("f/")))).toEqual(["a-b", "a", "b"]);
  });
  test("the wait ends with the signal's reason when it is aborted", async () => {
    const controller = new AbortController();
    const reason = new InterruptedError();
    const { store, faulty, clock } = retrying(({ index }) => {
      if (index === 1) controller.abort(reason);
      return { kind: "fail", error: unavailable() };
    });
    expect(await rejection(clock.run(store.get("a", { signal: controller.signal })))).toBe(reason);
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

describe("RetryStore over a store that is away", () => {
  const puts = (store: RetryStore, count: number) =>
    Promise.all(Array.from({ length: count }, (_, index) => store.put(`chunks/${index}`, bytes("x"))));

  test("all of many requests wait for it, with a line when it goes, one a minute, and one when it is back", async () => {
    const { store, clock, lines } = retrying(awayUntil(151_000), { random: Math.random });
    await clock.run(puts(store, 64));
    expect(lines).toEqual([
      expect.stringMatching(
        /^memory: does not answer \(it answered 500\); retrying for up to 15 minutes$/,
      ),
      expect.stringMatching(
        /^memory: has not answered for \d+ s \(it answered 500\); retrying for up to 15 /,
      ),
      expect.stringMatching(
        /^memory: has not answered for (2 minutes|\d+ s) \(it answered 500\); retrying for /,
      ),
      expect.stringMatching(/^memory: is back after (\d+ s|[23] minutes)$/),
    ]);
  });
  test("each request fails once it has answered none of them for as long as it is waited for", async () => {
    for (const count of [1, 16]) {
      const { store, clock } = retrying(awayUntil(HOUR_MS));
      const error = await rejection(clock.run(puts(store, count)));
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ retryable: true });
      expect((error as Error).message).toBe(
        `${unavailable().message}; no request succeeded since 2026-11-28 18:00:01 UTC, for more than ` +
          "15 minutes (--retry-for)",
      );
      expect(clock.nowMs).toBeGreaterThanOrEqual(RETRY_FOR_MS);
      expect(clock.nowMs).toBeLessThan(RETRY_FOR_MS + 2 * DELAY_MAX_MS);
    }
  });
  test("it is given up sooner, or later, as the operator says, but never after one attempt", async () => {
    for (const retryForMs of [1, 20_000, 2 * HOUR_MS]) {
      const { store, clock, faulty } = retrying(awayUntil(9 * HOUR_MS), { retryForMs });
      await rejection(clock.run(puts(store, 2)));
      expect(clock.nowMs).toBeGreaterThanOrEqual(retryForMs);
      expect(clock.nowMs).toBeLessThan(retryForMs + 1000 + 2 * DELAY_MAX_MS);
      const asked = faulty.calls.length;
      const again = await rejection(store.head("a"));
      expect(again).toBeInstanceOf(StoreError);
      expect(faulty.calls.length).toBe(asked + 1); // not waited for once more
      expect(faulty.calls.length).toBeGreaterThanOrEqual(3);
    }
  });
  test("one good answer of any kind begins the wait anew", async () => {
    const hiccups = (_: Call, nowMs: number): Fault | undefined =>
      nowMs % (14 * 60_000) < 20_000 && nowMs > 20_000 || nowMs > 2 * HOUR_MS
        ? undefined
        : { kind: "fail", error: unavailable() };
    const { store, clock } = retrying(hiccups);
    const others = (async () => {
      while (clock.nowMs < 2 * HOUR_MS) {
        await store.head("other");
        await clock.sleep(1000);
      }
    })();
    const many = (async () => {
      while (clock.nowMs < 2 * HOUR_MS) {
        await store.put("a", bytes("x"));
        await clock.sleep(1000);
      }
    })();
    await clock.run(Promise.all([others, many]));
  });
  test("time in which the host slept is no waiting", async () => {
    const { store, clock, faulty } = retrying(awayUntil(9 * HOUR_MS));
    let slept = false;
    const sleeping = new RetryStore(faulty, {
      onRetry: () => {},
      random: () => 0.5,
      retryForMs: RETRY_FOR_MS,
      now: () => clock.nowMs,
      sleep: async (delayMs, signal) => {
        await clock.sleep(delayMs, signal);
        if (slept || clock.nowMs < 14 * 60_000) return;
        slept = true;
        clock.nowMs += 3 * HOUR_MS;
      },
    });
    await rejection(clock.run(sleeping.put("a", bytes("x"))));
    expect(clock.nowMs).toBeGreaterThan(3 * HOUR_MS + 14 * 60_000 + RETRY_FOR_MS);
    await store.close();
  });
  test("short sleeps, one after the other, count no more than the waits they came into", async () => {
    const { clock, faulty } = retrying(awayUntil(9 * HOUR_MS));
    const dozing = new RetryStore(faulty, {
      onRetry: () => {},
      random: () => 0.5,
      now: () => clock.nowMs,
      sleep: async (delayMs, signal) => {
        await clock.sleep(delayMs, signal);
        clock.nowMs += 300_000;
      },
    });
    await rejection(clock.run(dozing.put("a", bytes("x"))));
    // Five minutes of sleep at each wait of some seconds: 70 s of them count.
    expect(clock.nowMs).toBeGreaterThan(RETRY_FOR_MS * 3);
  });
  test("a store that comes and goes has at most a line a minute and one at its end", async () => {
    const { store, clock, lines } = retrying((_, nowMs) =>
      nowMs % 20_000 > 5_000 ? { kind: "fail", error: unavailable() } : undefined
    );
    while (clock.nowMs < HOUR_MS) {
      await clock.run(store.put("a", bytes("x")));
      await clock.run(clock.sleep(1000));
    }
    expect(lines.length).toBeLessThanOrEqual(2 * 60 + 1);
  });
  test("entries of a page that had come before are no answers of now", async () => {
    const inner = new MemoryStore();
    for (let index = 0; index < 99; index++) await inner.put(`l/${index}`, bytes("x"));
    const { store, clock } = retrying(
      ({ method }, nowMs) =>
        method !== "list" && nowMs > 1000 ? { kind: "fail", error: unavailable() } : undefined,
      { inner, retryForMs: 60_000 },
    );
    const slowly = (async () => {
      for await (const _ of store.list("l/")) await clock.sleep(5000);
    })();
    await new Promise(setImmediate);
    clock.nowMs += 1;
    const error = await rejection(clock.run(store.put("a", bytes("x"))));
    expect((error as Error).message).toContain("no request succeeded since");
    expect(clock.nowMs).toBeLessThan(60_000 + 3 * DELAY_MAX_MS);
    await clock.run(slowly);
  });
  test("no line has an object's id", async () => {
    const hex = "0123456789abcdef".repeat(4);
    const error = () =>
      new StoreError(`Cannot write "s3://b/${hex}": "memory:" answered (500) for ${hex}`, {
        retryable: true,
      });
    const { store, clock, lines } = retrying((_, nowMs) =>
      nowMs < 90_000 ? { kind: "fail", error: error() } : undefined
    );
    await clock.run(store.put(`chunks/${hex}`, bytes("x")));
    expect(lines[0]).toBe(
      "memory: does not answer (it answered (500) for …); retrying for up to 15 minutes",
    );
    expect(lines.join("\n")).not.toMatch(/[0-9a-f]{64}/);
  });
});

describe("RetryStore when one request fails and others are answered", () => {
  const badKey = ({ key }: Call): Fault | undefined =>
    key === "bad" ? { kind: "fail", error: unavailable() } : undefined;

  test.each(["get", "head"] as const)(
    "%s() throws UnavailableError, also with nothing else to ask",
    async (method) => {
      const { store, clock, lines } = retrying(badKey);
      const error = await rejection(clock.run<unknown>(store[method]("bad")));
      expect(error).toBeInstanceOf(UnavailableError);
      expect(error).toMatchObject({ key: "bad", retryable: false });
      expect((error as Error).message).toMatch(
        /^Cannot reach "the store": it answered 500 \(\d+ attempts in (2 minutes|1\d\d s)\)$/,
      );
      expect(clock.nowMs).toBeGreaterThan(ALONE_MAX_MS);
      expect(clock.nowMs).toBeLessThan(ALONE_MAX_MS + 3 * DELAY_MAX_MS);
      // It stays failing: that is said, but never that the store is away.
      expect(lines[0]).toMatch(
        /^memory: fails some requests \(it answered 500\); retrying for 2 minutes$/,
      );
      expect(lines.join("\n")).not.toContain("does not answer");
      expect(lines.length).toBeLessThanOrEqual(3);
    },
  );
  test("get() is given up as soon as the operator says, but not before some attempts", async () => {
    const { store, clock, faulty } = retrying(badKey, { retryForMs: 1 });
    expect(await rejection(clock.run(store.get("bad")))).toBeInstanceOf(UnavailableError);
    expect(faulty.calls.filter(({ key }) => key === "bad").length).toBe(ALONE_ATTEMPTS_MIN);
  });
  test("put() and list() are tried as long as a store that is away, and end with StoreError", async () => {
    for (const method of ["put", "list"] as const) {
      const { store, clock } = retrying((call) =>
        call.method === method ? { kind: "fail", error: unavailable() } : undefined
      );
      const work = method === "put" ? store.put("bad", bytes("x")) : keysOf(store, "");
      const error = await rejection(clock.run<unknown>(work));
      expect(error).toBeInstanceOf(StoreError);
      expect(error).not.toBeInstanceOf(UnavailableError);
      expect(error).toMatchObject({ retryable: true });
      expect(clock.nowMs).toBeGreaterThan(RETRY_FOR_MS);
      expect(clock.nowMs).toBeLessThan(RETRY_FOR_MS + 3 * DELAY_MAX_MS);
    }
  });
  test("nothing is said when it succeeds soon", async () => {
    const { store, clock, lines } = retrying(({ key, index }) =>
      key === "bad" && index < 6 ? { kind: "fail", error: unavailable() } : undefined
    );
    await clock.run(store.put("bad", bytes("x")));
    expect(lines).toEqual([]);
  });
  test("an answer that refuses counts as one: the store is there", async () => {
    const { store, clock } = retrying((call) => ({
      kind: "fail",
      error: call.key === "bad" ? unavailable() : refused(),
    }));
    expect(await rejection(clock.run(store.get("bad")))).toBeInstanceOf(UnavailableError);
  });
  test("a request for which the store is asked does not wait for that answer", async () => {
    const controller = new AbortController();
    const reason = new InterruptedError();
    const { store, faulty, clock } = retrying(({ key, index }) => {
      if (key !== "bad") return { kind: "hang" };
      if (index === 6) controller.abort(reason);
      return { kind: "fail", error: unavailable() };
    });
    expect(await rejection(clock.run(store.get("bad", { signal: controller.signal })))).toBe(reason);
    expect(faulty.calls.filter(({ key }) => key !== "bad").length).toBe(1);
    await store.close();
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
    const { store, clock, details } = retrying(() => undefined, { inner });
    expect(await clock.run(store.delete(["a", "b", "c"]))).toEqual([denied("c")]);
    expect(inner.asked).toEqual([["a", "b", "c"], ["b"]]);
    expect(details).toEqual([
      'Attempt 1 failed, the next in 0.3 s: Cannot delete "memory:/b": InternalError',
    ]);
  });
  test("asks before it tries such keys again", async () => {
    const inner = new StickyStore(Array.from({ length: 99 }, () => [passing("b")]));
    const { store, clock } = retrying(() => undefined, { inner });
    const error = new InterruptedError();
    const beforeRetry = () => {
      throw error;
    };
    expect(await rejection(clock.run(store.delete(["b"], { beforeRetry })))).toBe(error);
    expect(inner.asked.length).toBe(1);
  });
  test("tells the keys that remain when every attempt leaves them", async () => {
    const inner = new StickyStore(Array.from({ length: 999 }, () => [passing("b")]));
    const { store, clock } = retrying(() => undefined, { inner });
    expect(await clock.run(store.delete(["a", "b"]))).toEqual([passing("b")]);
    expect(clock.nowMs).toBeGreaterThan(ALONE_MAX_MS);
    expect(clock.nowMs).toBeLessThan(ALONE_MAX_MS + 3 * DELAY_MAX_MS);
  });
});
