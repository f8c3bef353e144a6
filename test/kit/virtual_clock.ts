/** Time that passes when nothing else is to be done: for tests of what waits. */

interface Sleeper {
  atMs: number;
  wake: () => void;
}

export class VirtualClock {
  nowMs = 1000;
  /** Every delay that was asked for, in order. */
  readonly delays: number[] = [];
  #sleepers: Sleeper[] = [];

  readonly sleep = (delayMs: number, signal?: AbortSignal): Promise<void> => {
    this.delays.push(delayMs);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const sleeper = { atMs: this.nowMs + delayMs, wake: resolve };
      this.#sleepers.push(sleeper);
      signal?.addEventListener("abort", () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal.reason);
      }, { once: true });
    });
  };

  /** Lets time pass until `work` is settled; what it resolves to. */
  async run<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    work.catch(() => {}).finally(() => isDone = true);
    for (;;) {
      await new Promise(setImmediate);
      if (isDone) return await work;
      const next = this.#sleepers.sort((a, b) => a.atMs - b.atMs).shift();
      if (next === undefined) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.wake();
    }
  }
}
