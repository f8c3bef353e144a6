/**
 * Time in which this process ran. A host that was suspended, or a process that was stopped, could not be answered: what a
 * clock shows afterwards must not count as waiting.
 */

/** A gap so many times longer than any wait that was meant is no wait: the process stood still. */
const STOOD_STILL_FACTOR = 10;

export class RunningTime {
  #countedMs = 0;
  #atMs: number;

  /** `startMs` and every later time are of one clock that does not go back. */
  constructor(startMs: number) {
    this.#atMs = startMs;
  }

  get countedMs(): number {
    return this.#countedMs;
  }

  /**
   * Counts until `nowMs`, at most `longestMs`: the longest that a running process stays without a word here. After
   * standing still the count begins anew.
   */
  pass(nowMs: number, longestMs: number): void {
    const gapMs = Math.max(0, nowMs - this.#atMs);
    const stoodStill = gapMs > longestMs * STOOD_STILL_FACTOR;
    this.#countedMs = stoodStill ? 0 : this.#countedMs + Math.min(gapMs, longestMs);
    this.#atMs = Math.max(this.#atMs, nowMs);
  }
}
