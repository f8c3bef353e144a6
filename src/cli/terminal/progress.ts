/** The progress line of a command that takes time: a bar, how far, rate, time left, and what the command counts besides. */
import type { Screen } from "./screen.ts";
import { counted } from "../../util/counted.ts";
import { formatDuration, formatSize } from "./units.ts";

/** At most ten a second: more cannot be read, and costs. */
const UPDATE_INTERVAL_MS = 100;
/** The rate follows changes within about this time, and does not jump. */
const RATE_WINDOW_MS = 5000;
const BAR_CELLS = 20;

export interface ProgressState {
  /** How far, of `total`: bytes, or so many of `unit`. */
  done: number;
  /** `undefined` while nobody knows (a raw pipe). With it there are a bar and the time left. */
  total: number | undefined;
  /** What is counted where that is not bytes: `chunk`. */
  unit?: string | undefined;
  /** Bytes that the rate is measured by: what was read or compared until now. Without it the rate is that of `done`. */
  workBytes?: number | undefined;
  /** `new 1.2 GiB`, `reused 300 MiB`. */
  notes: string[];
}

interface ProgressOptions {
  enabled: boolean;
  /** Milliseconds; replaced by tests. */
  now?: () => number;
}

export class Progress {
  readonly #screen: Screen;
  readonly #now: () => number;
  readonly #work: Rate;
  readonly #done: Rate;
  readonly #enabled: boolean;
  #shownMs = -Infinity;

  /** For people only: nothing is shown where standard error is no terminal, or where `enabled` is not. */
  constructor(screen: Screen, options: ProgressOptions) {
    this.#screen = screen;
    this.#now = options.now ?? Date.now;
    this.#work = new Rate(this.#now());
    this.#done = new Rate(this.#now());
    this.#enabled = options.enabled && screen.isTerminal;
  }

  /** To be called as often as there is something new. */
  update(state: ProgressState): void {
    const nowMs = this.#now();
    if (!this.#enabled || nowMs - this.#shownMs < UPDATE_INTERVAL_MS) return;
    this.#shownMs = nowMs;
    const pace = this.#done.measure(state.done, nowMs);
    const rate = state.workBytes === undefined
      ? `${amount(pace, state)}/s`
      : `${formatSize(this.#work.measure(state.workBytes, nowMs))}/s`;
    this.#screen.show([...position(state), rate, ...timeLeft(state, pace), ...state.notes].join("  "));
  }

  /** Erases the line. Can be called again. */
  end(): void {
    this.#screen.erase();
  }
}

/** So much a second, as an exponentially weighted mean over `RATE_WINDOW_MS`. */
class Rate {
  #bytes = 0;
  #ms: number;
  #perSecond: number | undefined;

  constructor(startMs: number) {
    this.#ms = startMs;
  }

  measure(bytes: number, ms: number): number {
    const passedMs = ms - this.#ms;
    if (passedMs > 0) {
      const current = Math.max(0, bytes - this.#bytes) / passedMs * 1000; // a next volume begins at 0
      const weight = 1 - Math.exp(-passedMs / RATE_WINDOW_MS);
      const before = this.#perSecond ?? current;
      this.#perSecond = before + weight * (current - before);
      [this.#bytes, this.#ms] = [bytes, ms];
    }
    return Math.round(this.#perSecond ?? 0);
  }
}

function position({ done, total, ...state }: ProgressState): string[] {
  if (total === undefined) return [amount(done, state)];
  const part = total === 0 ? 1 : Math.min(1, done / total);
  const cells = Math.floor(part * BAR_CELLS);
  const bar = "#".repeat(cells) + ".".repeat(BAR_CELLS - cells);
  const of = state.unit === undefined ? formatSize(done) : String(Math.floor(done));
  return [`[${bar}] ${String(Math.floor(part * 100)).padStart(3)}%`, `${of} of ${amount(total, state)}`];
}

function amount(count: number, { unit }: Pick<ProgressState, "unit">): string {
  return unit === undefined ? formatSize(count) : counted(count, unit);
}

function timeLeft({ done, total }: ProgressState, pace: number): string[] {
  if (total === undefined || pace <= 0) return [];
  return [`ETA ${formatDuration(Math.max(0, total - done) / pace)}`];
}
