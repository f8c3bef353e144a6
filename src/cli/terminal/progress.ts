/** The progress line of a backup or restore: a bar, bytes, rate, time left, and what the command counts besides. */
import type { Screen } from "./screen.ts";
import { formatDuration, formatSize } from "./units.ts";

/** At most ten a second: more cannot be read, and costs. */
const UPDATE_INTERVAL_MS = 100;
/** The rate follows changes within about this time, and does not jump. */
const RATE_WINDOW_MS = 5000;
const BAR_CELLS = 20;

export interface ProgressState {
  /** How far, of `sizeBytes`; from them follow the bar and the time left. */
  doneBytes: number;
  /** `undefined` while nobody knows (a raw pipe). */
  sizeBytes: number | undefined;
  /** What the rate is measured by: what was read or compared until now. */
  workBytes: number;
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
    const rate = `${formatSize(this.#work.measure(state.workBytes, nowMs))}/s`;
    const pace = this.#done.measure(state.doneBytes, nowMs);
    this.#screen.show([...position(state), rate, ...timeLeft(state, pace), ...state.notes].join("  "));
  }

  /** Erases the line, and leaves `summary` where it was. Can be called again. */
  end(summary = ""): void {
    this.#screen.erase();
    if (this.#enabled && summary !== "") this.#screen.write(summary);
  }
}

/** Bytes a second, as an exponentially weighted mean over `RATE_WINDOW_MS`. */
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
      const current = (bytes - this.#bytes) / passedMs * 1000;
      const weight = 1 - Math.exp(-passedMs / RATE_WINDOW_MS);
      const before = this.#perSecond ?? current;
      this.#perSecond = before + weight * (current - before);
      [this.#bytes, this.#ms] = [bytes, ms];
    }
    return Math.round(this.#perSecond ?? 0);
  }
}

function position({ doneBytes, sizeBytes }: ProgressState): string[] {
  if (sizeBytes === undefined) return [formatSize(doneBytes)];
  const part = sizeBytes === 0 ? 1 : Math.min(1, doneBytes / sizeBytes);
  const cells = Math.floor(part * BAR_CELLS);
  const bar = "#".repeat(cells) + ".".repeat(BAR_CELLS - cells);
  return [
    `[${bar}] ${String(Math.floor(part * 100)).padStart(3)}%`,
    `${formatSize(doneBytes)} of ${formatSize(sizeBytes)}`,
  ];
}

function timeLeft({ doneBytes, sizeBytes }: ProgressState, pace: number): string[] {
  if (sizeBytes === undefined || pace <= 0) return [];
  return [`ETA ${formatDuration(Math.max(0, sizeBytes - doneBytes) / pace)}`];
}
