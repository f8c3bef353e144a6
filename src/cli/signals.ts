/** Ctrl-C and its like: the first asks the command to end, the second ends the process, and so does being slow. */
import type { EventEmitter } from "node:events";
import { InterruptedError } from "../errors.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** How long the command may take to put things in order. */
const GRACE_MS = 2000;

export interface SignalOptions {
  /** The process. */
  emitter: EventEmitter;
  /** Ends the process at once. */
  exit: () => void;
  /** `setTimeout`, replaced by tests. */
  setTimer: (run: () => void, ms: number) => void;
}

/** Aborts with `InterruptedError` at the first signal. */
export function watchSignals(options: SignalOptions): AbortSignal {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) return options.exit();
    options.setTimer(options.exit, GRACE_MS);
    controller.abort(new InterruptedError());
  };
  for (const name of SIGNALS) options.emitter.on(name, onSignal);
  return controller.signal;
}
