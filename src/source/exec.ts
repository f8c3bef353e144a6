/** Runs the producer of a stream (`--exec`): its output is the stream, its end is part of what makes it whole. */
import fs from "node:fs";
import { describeError, UsageError, VarveError } from "../errors.ts";
import { childEnvironment } from "../os/child_environment.ts";
import { type EndingSignal, ignoredSignals } from "../os/signals.ts";
import { makePipe } from "./libc.ts";

/** Between SIGTERM and SIGKILL, and how long whom a dead child left behind may hold its stderr. */
const GRACE_MS = 500;
/** Of stderr, kept for the error's message. */
const STDERR_TAIL_CHARS = 4096;

export interface ProducerOptions {
  /** Ends the child. */
  signal: AbortSignal;
  /** Gets the child's stderr as it comes. */
  stderr: { write(bytes: Uint8Array): unknown };
}

/** A running child whose stdout is a pipe of ours. */
export class Producer {
  /** The end to read from; its reader closes it. */
  readonly fd: number;
  /** The program: arguments may hold what should not be shown. */
  readonly name: string;
  readonly #child: Bun.Subprocess<"ignore", number, "pipe">;
  readonly #signal: AbortSignal;
  readonly #stderrDone: Promise<void>;
  #stderrTail = "";

  /** @throws {VarveError} where the command cannot be run */
  constructor(command: readonly string[], options: ProducerOptions) {
    const [program] = command;
    if (program === undefined) throw new UsageError("Cannot run the producer: no command was given");
    this.name = program;
    ({ fd: this.fd, child: this.#child } = spawn(command, program));
    this.#stderrDone = this.#pass(options.stderr);
    this.#signal = options.signal;
    this.#signal.addEventListener("abort", this.#onAbort);
    if (this.#signal.aborted) this.#onAbort();
  }

  /**
   * Resolves once the child has ended well.
   *
   * @throws {VarveError} where its exit code was not 0 or a signal ended it
   */
  async finished(): Promise<void> {
    const code = await this.#child.exited;
    await within(this.#stderrDone, GRACE_MS);
    this.#signal.throwIfAborted();
    if (code === 0) return;
    const { signalCode } = this.#child;
    const end = signalCode === null ? `it exited with code ${code}` : `it was ended by ${signalCode}`;
    const line = lastLine(this.#stderrTail);
    throw new VarveError("failed", `Cannot run "${this.name}": ${end}${line === "" ? "" : `: ${line}`}`);
  }

  /** Ends the child if it still runs. Safe at any time and twice. */
  async stop(): Promise<void> {
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#child.kill("SIGTERM");
    if (!await within(this.#child.exited, GRACE_MS)) this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  readonly #onAbort = (): void => void this.stop();

  async #pass(stderr: ProducerOptions["stderr"]): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of this.#child.stderr) {
      stderr.write(bytes);
      const text = this.#stderrTail + decoder.decode(bytes, { stream: true });
      this.#stderrTail = text.slice(-STDERR_TAIL_CHARS);
    }
  }
}

function spawn(command: readonly string[], program: string) {
  const { readFd, writeFd } = makePipe();
  try {
    const child = Bun.spawn(ignoring(ignoredSignals(), command), {
      stdin: "ignore",
      stdout: writeFd,
      stderr: "pipe",
      env: childEnvironment(),
    });
    return { fd: readFd, child };
  } catch (cause) {
    fs.closeSync(readFd);
    throw new VarveError("failed", `Cannot run "${program}": ${describeError(cause)}`, { cause });
  } finally {
    // The child has its own; as long as ours is open the pipe would never end.
    fs.closeSync(writeFd);
  }
}

/**
 * The runtime gives a child every signal's default back. What was ignored when this process began (`nohup`) must be so for
 * the child, too: a shell ignores it, and becomes the command.
 */
function ignoring(signals: readonly EndingSignal[], command: readonly string[]): string[] {
  const [program = ""] = command;
  // What is not there is said by the runtime better than by a shell.
  if (signals.length === 0 || Bun.which(program) === null) return [...command];
  const names = signals.map((name) => name.slice(3)).join(" ");
  return ["/bin/sh", "-c", `trap '' ${names}; exec "$@"`, "sh", ...command];
}

/** Whether `promise` settled in time. */
async function within(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(resolve, timeoutMs, false);
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A progress line ends in a carriage return, too. */
function lastLine(text: string): string {
  return text.split(/[\r\n]+/).map((line) => line.trim()).findLast((line) => line !== "") ?? "";
}
