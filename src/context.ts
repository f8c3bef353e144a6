/** What every use case is given: when to stop, where to log, what time it is, how many threads. */
import { readSystemClocks } from "./os/clocks.ts";
import { InterruptedError, type VarveError } from "./errors.ts";

/** pino fits. */
export interface Logger {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
  /** Each request to a store; left out where nothing so detailed is wanted. */
  trace?(fields: object, text: string): void;
}

/** This host's time; only intervals and names are made from it, decisions are not. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /**
   * What each clock of this host says, in milliseconds: some are set by hand, some stand still while the host sleeps. Only
   * differences mean anything. Without it `now` is the only one.
   */
  readings?(): ClockReadings;
  /** Resolves after `ms`, rejects with the signal's reason when aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** By the clock's name. */
export type ClockReadings = Readonly<Record<string, number>>;

/** Chunks on their way to or from the store at once, unless the operator says otherwise. */
export const DEFAULT_JOBS = 6;

export interface Context {
  signal: AbortSignal;
  log: Logger;
  clock: Clock;
  /** This host's name, for leases, manifests, holds and marks. */
  host: string;
  /** Worker threads. */
  threads: number;
  /** Chunks on their way to or from the store at once; `DEFAULT_JOBS` without it. */
  jobs?: number | undefined;
  /**
   * Told of what cannot be read and hinders nothing else: the work goes on, and does not count as wholly done. Without it
   * that is the end of the work.
   */
  onProblem?: ((problem: VarveError) => void) | undefined;
  /** The folder of local caches; without one nothing is remembered between runs. */
  cacheRoot?: string | undefined;
  /** The folder of what this host must not forget; without one it misses nothing that a store has lost. */
  stateRoot?: string | undefined;
  /** Told of what cannot be read or written there: the work goes on, and a point that is lost may go unnoticed. */
  onStateTrouble?: ((error: unknown) => void) | undefined;
}

/** Goes on after the problem where somebody wants to be told of it; otherwise throws it. */
export function tellProblem(problem: VarveError, { onProblem }: Pick<Context, "onProblem">): void {
  if (onProblem === undefined) throw problem;
  onProblem(problem);
}

export const systemClock: Clock = {
  now: () => Date.now(),
  readings: readSystemClocks,
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortReason(signal));
      const onAbort = () => {
        clearTimeout(timer);
        reject(abortReason(signal));
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      }, ms);
      signal.addEventListener("abort", onAbort, { once: true });
    }),
};

function abortReason(signal: AbortSignal): unknown {
  return signal.reason ?? new InterruptedError();
}

export function readClocks(clock: Clock): ClockReadings {
  return clock.readings?.() ?? { "this host's clock": clock.now() };
}

/** The most that any clock of this host says has passed since the readings, and which one says so. */
export function elapsedSince(since: ClockReadings, clock: Clock): { ms: number; by: string } {
  let most = { ms: -Infinity, by: "" };
  for (const [by, now] of Object.entries(readClocks(clock))) {
    const ms = now - (since[by] ?? now);
    if (ms > most.ms) most = { ms, by };
  }
  return most;
}
