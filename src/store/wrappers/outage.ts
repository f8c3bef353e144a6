/** What a store's requests know together: when it was last answered well, since when it is away, and what was said of it. */
import type { StoreError } from "../../errors.ts";
import { formatSpan } from "./span.ts";
import { reasonOf } from "./reason.ts";
import { RunningTime } from "./running_time.ts";

/** Between two lines about one store. */
const LINE_INTERVAL_MS = 60_000;

interface OutageOptions {
  /** The store's host or path, for the lines. */
  name: string;
  retryForMs: number;
  /** Told a line for the operator. */
  onLine: (line: string) => void;
}

interface Away {
  /** By the monotonic clock. */
  sinceMs: number;
  time: RunningTime;
  reason: string;
  told: boolean;
}

export class Outage {
  readonly #options: OutageOptions;
  #answers = 0;
  #lineMs = -Infinity;
  #away: Away | undefined;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  /** How many requests were answered well so far: more than before, and the store was there meanwhile. */
  get answers(): number {
    return this.#answers;
  }

  /** For how long nothing was answered well, as far as this process ran; 0 while the store is there. */
  get awayMs(): number {
    return this.#away?.time.countedMs ?? 0;
  }

  /** The start of the outage by the monotonic clock. */
  get sinceMs(): number | undefined {
    return this.#away?.sinceMs;
  }

  /** A definite answer came, whichever it was. */
  good(nowMs: number): void {
    this.#answers++;
    const away = this.#away;
    if (away === undefined) return;
    this.#away = undefined;
    if (!away.told) return;
    this.#tell(nowMs, `${this.#options.name} is back after ${formatSpan(nowMs - away.sinceMs)}`);
  }

  /** A request that began at `startedMs` failed, and nothing was answered well since. */
  failed(error: StoreError, { startedMs, nowMs, longestMs }: FailedAttempt): void {
    const { name } = this.#options;
    const reason = reasonOf(error, name);
    this.#away ??= { sinceMs: startedMs, time: new RunningTime(startedMs), reason, told: false };
    this.#away.reason = reason;
    this.#away.time.pass(nowMs, longestMs);
  }

  /** Time passes while a request waits for its next attempt. */
  pass(nowMs: number, longestMs: number): void {
    this.#away?.time.pass(nowMs, longestMs);
  }

  /** Says that the store is away: once, and once a minute. */
  tellAway(nowMs: number): void {
    const away = this.#away;
    if (away === undefined || nowMs - this.#lineMs < LINE_INTERVAL_MS) return;
    const { name, retryForMs } = this.#options;
    const isFirst = !away.told;
    away.told = true;
    const state = isFirst ? "does not answer" : `has not answered for ${formatSpan(nowMs - away.sinceMs)}`;
    this.#tell(nowMs, `${name} ${state} (${away.reason}); retrying for up to ${formatSpan(retryForMs)}`);
  }

  /** Says that the store, which answers others, goes on failing a request; at most once a minute. */
  tellFailing(error: StoreError, { nowMs, untilMs }: { nowMs: number; untilMs: number }): void {
    if (nowMs - this.#lineMs < LINE_INTERVAL_MS) return;
    const { name } = this.#options;
    const wait = formatSpan(untilMs);
    this.#tell(nowMs, `${name} fails some requests (${reasonOf(error, name)}); retrying for ${wait}`);
  }

  #tell(nowMs: number, line: string): void {
    this.#lineMs = nowMs;
    this.#options.onLine(line);
  }
}

interface FailedAttempt {
  startedMs: number;
  nowMs: number;
  /** The longest that an attempt or a wait lasts while the process runs. */
  longestMs: number;
}
