/** Bounded concurrency: the limits, the order, and what becomes of failures. */
import { describe, expect, test } from "bun:test";
import { mapOrdered, TaskLimiter } from "../../src/util/task_limiter.ts";

/** Tasks that end when they are told to. */
function tasks() {
  const running: PromiseWithResolvers<void>[] = [];
  const start = () => {
    const task = Promise.withResolvers<void>();
    running.push(task);
    return task.promise;
  };
  return { running, start };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 30; i++) await Promise.resolve();
}

describe("TaskLimiter", () => {
  test("add() starts tasks up to the limit, and waits for room then", async () => {
    const window = new TaskLimiter(2);
    const { running, start } = tasks();
    await window.add(start);
    await window.add(start);
    const third = window.add(start);
    await settle();
    expect(running.length).toBe(2);
    running[1]!.resolve();
    await third;
    expect(running.length).toBe(3);
  });

  test("drain() waits for all tasks", async () => {
    const window = new TaskLimiter(2);
    const { running, start } = tasks();
    await window.add(start);
    await window.add(start);
    let isDrained = false;
    const drained = window.drain().then(() => isDrained = true);
    running[0]!.resolve();
    await settle();
    expect(isDrained).toBe(false);
    running[1]!.resolve();
    await drained;
  });

  test("add() and drain() throw the first failure, and add() starts nothing more", async () => {
    const window = new TaskLimiter(2);
    const { running, start } = tasks();
    await window.add(start);
    await window.add(start);
    running[0]!.reject(new Error("first"));
    await settle();
    await expect(window.add(start)).rejects.toThrow("first");
    running[1]!.reject(new Error("second"));
    await expect(window.drain()).rejects.toThrow("first");
    await settle();
    expect(running.length).toBe(2);
  });

  test("settle() waits for all tasks, and throws nothing", async () => {
    const window = new TaskLimiter(2);
    const { running, start } = tasks();
    await window.add(start);
    running[0]!.reject(new Error("first"));
    await window.settle();
  });
});

async function* numbers(count: number, onPull: () => void = () => {}): AsyncGenerator<number> {
  for (let i = 0; i < count; i++) {
    onPull();
    yield i;
  }
}

describe("mapOrdered()", () => {
  test("yields in the order of the items, whichever ends first", async () => {
    const waiting = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
    const work = async (i: number) => (await waiting[i]!.promise, i * 10);
    const all = Array.fromAsync(mapOrdered(numbers(3), work, { limit: 3, drop: () => {} }));
    for (const i of [2, 0, 1]) {
      waiting[i]!.resolve();
      await settle();
    }
    expect(await all).toEqual([0, 10, 20]);
  });

  test("has no more at work than the limit, and pulls no item ahead of it", async () => {
    let atWork = 0, most = 0, pulled = 0;
    const work = async () => {
      most = Math.max(most, ++atWork);
      await settle();
      atWork--;
    };
    const results = mapOrdered(numbers(20, () => pulled++), work, { limit: 4, drop: () => {} });
    await results.next();
    expect(pulled).toBe(4);
    for await (const _ of results);
    expect([most, pulled]).toEqual([4, 20]);
  });

  test("throws a failure in its turn, and drops the results that nobody took", async () => {
    const dropped: number[] = [];
    const work = async (i: number) => {
      if (i === 1) throw new Error("one");
      return i;
    };
    const results = mapOrdered(numbers(10), work, { limit: 4, drop: (i) => dropped.push(i) });
    expect((await results.next()).value).toBe(0);
    await expect(results.next()).rejects.toThrow("one");
    await settle();
    expect(dropped).toEqual([2, 3, 4]);
  });

  test("drops what is at work when its consumer ends early", async () => {
    const dropped: number[] = [];
    for await (
      const i of mapOrdered(numbers(10), async (i) => i, {
        limit: 4,
        drop: (i) => dropped.push(i),
      })
    ) {
      if (i === 1) break;
    }
    expect(dropped).toEqual([2, 3, 4]);
  });

  test("tells what is at work when the loop ends, and what that gives up then is no failure", async () => {
    const seen: number[] = [];
    const work = async (i: number, signal: AbortSignal) => {
      if (i === 0) return i;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      seen.push(i);
      throw new Error("given up");
    };
    for await (const _ of mapOrdered(numbers(10), work, { limit: 3, drop: () => {} })) break;
    expect(seen).toEqual([1, 2]);
  });

  test("throws what its items throw, and drops what is at work", async () => {
    const dropped: number[] = [];
    async function* failing() {
      yield* numbers(2);
      throw new Error("no more");
    }
    const all = Array.fromAsync(
      mapOrdered(failing(), async (i) => i, { limit: 4, drop: (i) => dropped.push(i) }),
    );
    await expect(all).rejects.toThrow("no more");
    await settle();
    expect(dropped).toEqual([0, 1]);
  });
});
