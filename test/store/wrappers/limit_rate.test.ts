/** limitRate() under a clock of the test's own: what comes through in a time, by how many requests whatever. */
import { describe, expect, test } from "bun:test";
import { InterruptedError } from "../../../src/errors.ts";
import { limitRate } from "../../../src/store/wrappers/limit_rate.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { random } from "../../kit/random.ts";
import { rejection } from "../../kit/rejection.ts";
import { describeContract } from "../../kit/store_contract.ts";

const BYTES_PER_SECOND = 1000;

/** Time goes on to the next one who wakes up, once nobody else has anything to do. */
class FakeClock {
  nowMs = 5000;
  readonly #sleepers: { atMs: number; wake: () => void }[] = [];

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    this.#sleepers.push({ atMs: this.nowMs + ms, wake: resolve });
    return promise;
  }

  async run(work: Promise<unknown>): Promise<void> {
    let isDone = false;
    const end = () => isDone = true;
    work.then(end, end);
    while (!isDone) {
      // Behind everything that waits for nothing.
      await new Promise((resolve) => setImmediate(resolve));
      const next = this.#sleepers.sort((a, b) => a.atMs - b.atMs).shift();
      if (next === undefined) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.wake();
    }
    await work;
  }
}

function limited(inner = new MemoryStore()) {
  const clock = new FakeClock();
  /** When each put reached the store. */
  const puts: number[] = [];
  const hooked = new HookedStore(inner, {
    before: ({ op }) => void (op === "put" && puts.push(clock.nowMs)),
  });
  const store = limitRate(hooked, {
    bytesPerSecond: BYTES_PER_SECOND,
    now: () => clock.nowMs,
    sleep: (ms, signal) => clock.sleep(ms, signal),
  });
  return { clock, store, hooked, puts, startMs: clock.nowMs };
}

describeContract("limitRate()", async () => {
  const sleep = async (_: number, signal: AbortSignal) => signal.throwIfAborted();
  return { store: limitRate(new MemoryStore(), { bytesPerSecond: 1e12, now: () => 0, sleep }) };
});

describe("limitRate()", () => {
  test("lets no more bytes a second through when many requests come at once", async () => {
    const { clock, store, startMs } = limited();
    const next = random(7);
    /** When how much was through. */
    const through: { atMs: number; bytes: number }[] = [];
    const one = async (i: number) => {
      const bytes = new Uint8Array(next(700));
      const note = () => through.push({ atMs: clock.nowMs, bytes: bytes.length });
      await store.put(`k/${i}`, bytes);
      note();
      await store.get(`k/${i}`);
      note();
    };
    await clock.run(Promise.all(Array.from({ length: 40 }, (_, i) => one(i))));
    let sum = 0;
    for (const { atMs, bytes } of through) {
      sum += bytes;
      expect(sum).toBeLessThanOrEqual((atMs - startMs) * BYTES_PER_SECOND / 1000 + 1e-6);
    }
    // And no fewer either: the line is never idle.
    expect(clock.nowMs - startMs).toBeCloseTo(sum * 1000 / BYTES_PER_SECOND, 3);
  });

  test("put() waits before a byte is sent", async () => {
    const { clock, store, puts, startMs } = limited();
    await clock.run(Promise.all([1, 2, 3].map((i) => store.put(`k/${i}`, new Uint8Array(500)))));
    expect(puts.map((atMs) => atMs - startMs)).toEqual([500, 1000, 1500]);
  });

  test("counts only the bytes of a range when only these are asked for", async () => {
    const inner = new MemoryStore();
    await inner.put("k", new Uint8Array(100_000));
    const { clock, store, startMs } = limited(inner);
    await clock.run(store.get("k", { range: { offset: 10, length: 200 } }));
    expect(clock.nowMs - startMs).toBe(200);
  });

  test("holds no request up that has no body", async () => {
    const { clock, store } = limited();
    const sending = store.put("large", new Uint8Array(100_000));
    expect(await store.head("large")).toBeUndefined();
    expect(await Array.fromAsync(store.list(""))).toEqual([]);
    expect(await store.delete(["none"])).toEqual([]);
    await clock.run(sending);
  });

  test("makes up for no time in which nothing was sent", async () => {
    const { clock, store } = limited();
    clock.nowMs += 60_000;
    const startMs = clock.nowMs;
    await clock.run(store.put("k", new Uint8Array(1000)));
    expect(clock.nowMs - startMs).toBe(1000);
  });

  test("put() and get() end with the signal's reason when aborted, and time stands still", async () => {
    const inner = new MemoryStore();
    await inner.put("k/there", new Uint8Array(1_000_000));
    const { clock, store, hooked, startMs } = limited(inner);
    const controller = new AbortController();
    const { signal } = controller;
    const work = [
      store.put("k/new", new Uint8Array(1_000_000), { signal }),
      store.get("k/there", { signal }),
    ];
    const ended = Promise.all(work.map(rejection));
    const reason = new InterruptedError();
    controller.abort(reason);
    expect(await ended).toEqual([reason, reason]);
    expect({ waitedMs: clock.nowMs - startMs, puts: hooked.keys("put") }).toEqual({ waitedMs: 0, puts: [] });
  });
});
