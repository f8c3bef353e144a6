/** Bounded concurrency: a limited number of tasks in any order, and a mapping that keeps the order. */

/** Runs tasks at once, at most `limit` of them; the first failure is what `add` and `drain` throw from then on. */
export class TaskLimiter {
  readonly #limit: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Starts the task once there is room. */
  async add(task: () => Promise<void>): Promise<void> {
    while (this.#running.size >= this.#limit) await Promise.race(this.#running);
    this.#check();
    const run: Promise<void> = task().catch((error) => {
      this.#failure ??= { error };
    }).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  /** Waits for all tasks, then throws the first failure. */
  async drain(): Promise<void> {
    await this.settle();
    this.#check();
  }

  /** Waits for all tasks, failed or not. */
  async settle(): Promise<void> {
    while (this.#running.size > 0) await Promise.race(this.#running);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/**
 * Runs `work` for each item, at most `limit` at once and in any order. Returns or throws the first failure only after all
 * that was begun has ended.
 */
export async function forEachLimited<T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const limiter = new TaskLimiter(limit);
  try {
    for await (const item of items) await limiter.add(() => work(item));
    await limiter.drain();
  } finally {
    await limiter.settle();
  }
}

/**
 * Yields `work(item)` for each item in its order, with up to `limit` of them begun and not yet yielded. If the loop ends
 * early, the signal given to `work` is aborted, and results that were not yielded are passed to `drop`.
 */
export async function* mapOrdered<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  work: (item: T, signal: AbortSignal) => Promise<R>,
  options: { limit: number; drop?: (result: R) => void },
): AsyncGenerator<R> {
  const queue: Promise<R>[] = [];
  const ended = new AbortController();
  try {
    for await (const item of items) {
      const result = work(item, ended.signal);
      // Failures are seen when their turn comes.
      result.catch(() => {});
      queue.push(result);
      if (queue.length >= options.limit) yield await queue.shift()!;
    }
    while (queue.length > 0) yield await queue.shift()!;
  } finally {
    ended.abort();
    // Each as soon as it is there: those behind it may wait for what it holds.
    await Promise.all(queue.map((result) => result.then(options.drop ?? (() => {}), () => {})));
  }
}
