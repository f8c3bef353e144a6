/**
 * Ends a process whose main thread does not answer a signal: it loops, or a system call does not come back. Runs in a
 * thread of its own, which only sleeps and looks.
 */
import { writeSync } from "node:fs";
import { type EndingSignal, exitAtOnce, wasCaught } from "../os/signals.ts";

/** Between two looks. */
const LOOK_MS = 200;
/** From the first signal on: longer than the main thread gives itself (`signals.ts`). */
export const LIMIT_MS = 2500;
/** For a signal that the main thread has not heard of in this time, there is nobody to put things in order. */
export const DEAF_LIMIT_MS = 1500;
/** From a second signal on. */
const SECOND_LIMIT_MS = 400;

export const UNWAITED = "Interrupted: outstanding requests were abandoned; their outcome is unknown";
export const INTERRUPTED_EXIT_CODE = 130;

export interface WatchdogData {
  watched: EndingSignal[];
  /** How many signals the main thread has heard of. */
  heard: Int32Array;
  /** Written to standard error in the end. */
  lastLine: string;
}

/** What a look sees; the times are of a clock that never goes back. */
interface Look {
  nowMs: number;
  heard: number;
  /** A signal came that the main thread has not heard of yet. */
  isUnheard: boolean;
}

/** Decides, look by look, when to end the process. */
export class Patience {
  #firstMs: number | undefined;
  #unheardMs: number | undefined;

  isOver({ nowMs, heard, isUnheard }: Look): boolean {
    if (heard > 0 || isUnheard) this.#firstMs ??= nowMs;
    this.#unheardMs = isUnheard ? this.#unheardMs ?? nowMs : undefined;
    const isLate = (sinceMs: number | undefined, limitMs: number) =>
      sinceMs !== undefined && nowMs - sinceMs >= limitMs;
    return isLate(this.#firstMs, LIMIT_MS) ||
      isLate(this.#unheardMs, heard > 0 ? SECOND_LIMIT_MS : DEAF_LIMIT_MS);
  }
}

/** Never returns. */
export function watch({ watched, heard, lastLine }: WatchdogData): void {
  const patience = new Patience();
  const sleep = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    Atomics.wait(sleep, 0, 0, LOOK_MS);
    const look = {
      heard: Atomics.load(heard, 0),
      isUnheard: watched.some(wasCaught),
      nowMs: performance.now(),
    };
    if (patience.isOver(look)) end(lastLine);
  }
}

function end(lastLine: string): void {
  try {
    writeSync(2, lastLine);
  } catch {
    // There is nowhere left to say it.
  }
  exitAtOnce(INTERRUPTED_EXIT_CODE);
}
