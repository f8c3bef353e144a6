/**
 * What the kernel does with a signal, asked and set by libc: the runtime's handlers only put an event into the queue of the
 * main thread, which a thread that loops never looks at.
 */
import { ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { lazily, openLibc } from "./libc.ts";

/** Those that end a process which does not handle them, and that a terminal or a person sends: by number (signal(7)). */
const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;
export type EndingSignal = keyof typeof NUMBERS;

// `struct sigaction` of 64-bit Linux, the same in glibc and musl: handler, a mask of 128 bytes, flags, restorer.
const ACTION_BYTES = 152;
const FLAGS_OFFSET = 136;
const SA_RESETHAND = 0x80000000;
const SIG_DFL = 0n;

const libc = lazily(() =>
  openLibc({
    sigaction: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    _exit: { args: ["i32"], returns: "void" },
  })
);

/** The signals that whoever started this process wants it not to notice: `nohup`, or a script's job in the background. */
export function ignoredSignals(): EndingSignal[] {
  try {
    const [, mask = "0"] = /^SigIgn:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    const isIgnored = (name: EndingSignal) => (BigInt(`0x${mask}`) >> BigInt(NUMBERS[name] - 1) & 1n) === 1n;
    return (Object.keys(NUMBERS) as EndingSignal[]).filter(isIgnored);
  } catch {
    return [];
  }
}

/** A signal whose handler runs once: a further one ends the process at once, by the kernel, whatever its threads do. */
export class CaughtOnce {
  readonly #number: number;
  readonly #action: Uint8Array | undefined;

  /** For the handler that is set now. Does nothing where the C library cannot be had. */
  constructor(name: EndingSignal) {
    this.#number = NUMBERS[name];
    this.#action = actionOf(this.#number);
    if (this.#action === undefined) return;
    const view = new DataView(this.#action.buffer);
    view.setUint32(FLAGS_OFFSET, view.getUint32(FLAGS_OFFSET, true) | SA_RESETHAND, true);
    this.set();
  }

  /** From now on the handler runs once more. */
  set(): void {
    if (this.#action !== undefined) libc()?.sigaction(this.#number, ptr(this.#action), null);
  }
}

/** Whether the handler of a `CaughtOnce` has run since it was set last. Any thread can ask. */
export function wasCaught(name: EndingSignal): boolean {
  const action = actionOf(NUMBERS[name]);
  return action !== undefined && new DataView(action.buffer).getBigUint64(0, true) === SIG_DFL;
}

function actionOf(number: number): Uint8Array<ArrayBuffer> | undefined {
  const action = new Uint8Array(ACTION_BYTES);
  return libc()?.sigaction(number, null, ptr(action)) === 0 ? action : undefined;
}

/** Ends the process at once, from any thread. */
export function exitAtOnce(code: number): void {
  libc()?._exit(code);
}
