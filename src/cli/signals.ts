/**
 * Ctrl-C and its like: the first asks the command to end, the second ends the process, and so does being slow. What
 * whoever started the process wants ignored stays so.
 */
import type { EventEmitter } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { InterruptedError } from "../errors.ts";
import { CaughtOnce, type EndingSignal, ignoredSignals } from "../os/signals.ts";
import type { WatchdogData } from "./watchdog.ts";

/** Set by the build. */
declare const VARVE_WATCHDOG_WORKER: string | undefined;

/** SIGQUIT is left alone: it is for who wants the process to end as it stands. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** How long the command may take to put things in order. */
const GRACE_MS = 2000;

interface SignalOptions {
  /** The process. */
  emitter: EventEmitter;
  /** Ends the process at once. */
  exit: () => void;
  /** `setTimeout`, replaced by tests. */
  setTimer: (run: () => void, ms: number) => void;
  /** Those that were ignored when the process began. */
  ignored: readonly EndingSignal[];
  /** Called before anything else when a signal came. */
  onSignal?: (name: EndingSignal) => void;
}

/** Aborts with `InterruptedError` at the first signal. */
export function watchSignals(options: SignalOptions): AbortSignal {
  const controller = new AbortController();
  for (const name of SIGNALS.filter((name) => !options.ignored.includes(name))) {
    options.emitter.on(name, () => {
      options.onSignal?.(name);
      if (controller.signal.aborted) return options.exit();
      options.setTimer(options.exit, GRACE_MS);
      controller.abort(new InterruptedError());
    });
  }
  return controller.signal;
}

/**
 * Watches the signals of this process, also while its main thread is not to be spoken to: then it ends with `lastLine` on
 * standard error.
 */
export function watchProcessSignals(
  { exit, lastLine }: { exit: () => void; lastLine: string },
): AbortSignal {
  const ignored = ignoredSignals();
  const watched = SIGNALS.filter((name) => !ignored.includes(name));
  const heard = new Int32Array(new SharedArrayBuffer(4));
  const once = new Map<EndingSignal, CaughtOnce>();
  const signal = watchSignals({
    emitter: process,
    exit,
    setTimer: setTimeout,
    ignored,
    onSignal(name) {
      once.get(name)?.set();
      Atomics.add(heard, 0, 1);
    },
  });
  for (const name of watched) once.set(name, new CaughtOnce(name));
  startWatchdog({ watched, heard, lastLine });
  return signal;
}

function startWatchdog(data: WatchdogData): void {
  const path = typeof VARVE_WATCHDOG_WORKER === "string"
    ? VARVE_WATCHDOG_WORKER
    : join(import.meta.dirname, "../../workers/watchdog_worker.ts");
  const worker = new Worker(path, { workerData: data });
  worker.on("error", () => {}); // without it signals still end the process, if its main thread answers
  worker.unref();
}
