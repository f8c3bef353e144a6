/** Runs the command of `--exec`, which makes a stream or takes one: its end is part of what makes that whole. */
import fs from "node:fs";
import { UsageError, VarveError } from "../errors.ts";
import { childEnvironment } from "./child_environment.ts";
import { type EndingSignal, ignoredSignals } from "./signals.ts";
import { makePipe, preparePipe } from "./pipes.ts";

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

/** A child did not end well. */
export class ExitError extends VarveError {
  /** `null` where a signal ended it. */
  readonly exitCode: number | null;
  /** How it ended, and the last line that it printed on stderr. */
  readonly end: string;

  constructor(program: string, { exitCode, end }: { exitCode: number | null; end: string }) {
    super("failed", `Cannot complete "${program}": it ${end}`);
    this.exitCode = exitCode;
    this.end = end;
  }
}

/** Between us and one of the child's standard streams. */
interface ChildPipe {
  stream: "stdin" | "stdout";
  ours: number;
  /** Closed here once the child has its own: as long as it is open nobody hears that the other side is gone. */
  theirs: number;
  /** The child reads what `ask` gives it; otherwise its standard input is empty. */
  isAsked?: boolean | undefined;
}

class Child {
  /** Our end of the pipe; whoever uses it closes it. */
  readonly fd: number;
  /** The program: arguments may hold what should not be shown. */
  readonly name: string;
  protected readonly child: Bun.Subprocess;
  readonly #signal: AbortSignal;
  readonly #stderrDone: Promise<unknown>;
  #stderrTail = "";

  /** @throws {VarveError} where the command cannot be run */
  constructor(command: readonly string[], pipe: ChildPipe, options: ProducerOptions) {
    const [program] = command;
    if (program === undefined) throw new UsageError("Cannot run a command: --exec needs one after --");
    this.name = program;
    this.fd = pipe.ours;
    this.child = spawn(command, program, pipe);
    const { stderr, stdout } = this.child;
    const said = [stderr, stdout].filter((stream) => stream instanceof ReadableStream);
    this.#stderrDone = Promise.all(said.map((stream) => this.#pass(stream, options.stderr)));
    this.#signal = options.signal;
    this.#signal.addEventListener("abort", this.#onAbort);
    if (this.#signal.aborted) this.#onAbort();
  }

  /**
   * Resolves once the child has ended well.
   *
   * @throws {ExitError} where its exit code was not 0 or a signal ended it
   */
  async finished(): Promise<void> {
    const code = await this.child.exited;
    await within(this.#stderrDone, GRACE_MS);
    this.#signal.throwIfAborted();
    if (code === 0) return;
    const { signalCode } = this.child;
    const end = signalCode === null ? `exited with code ${code}` : `was killed by ${signalCode}`;
    const line = lastLine(this.#stderrTail);
    throw new ExitError(this.name, {
      exitCode: signalCode === null ? code : null,
      end: line === "" ? end : `${end}: ${line}`,
    });
  }

  /** Ends the child if it still runs. Safe at any time and twice. */
  async stop(): Promise<void> {
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.child.kill("SIGTERM");
    if (!await within(this.child.exited, GRACE_MS)) this.child.kill("SIGKILL");
    await this.child.exited;
  }

  readonly #onAbort = (): void => void this.stop();

  async #pass(said: ReadableStream<Uint8Array>, stderr: ProducerOptions["stderr"]): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of said) {
      stderr.write(bytes);
      const text = this.#stderrTail + decoder.decode(bytes, { stream: true });
      this.#stderrTail = text.slice(-STDERR_TAIL_CHARS);
    }
  }
}

/** A running child that we read from. Nothing comes into it but what it is asked. */
export class Producer extends Child {
  /** @throws {VarveError} where the command cannot be run */
  constructor(command: readonly string[], options: ProducerOptions & { isAsked?: boolean }) {
    const { readFd, writeFd } = makePipe();
    super(command, { stream: "stdout", ours: readFd, theirs: writeFd, isAsked: options.isAsked }, options);
  }

  /** Resolves once the child itself has ended, whatever it left behind. */
  async exited(): Promise<void> {
    await this.child.exited;
  }

  /** Gives the child a line. One that has ended does not hear it, and its output ends. */
  ask(line: string): void {
    const { stdin } = this.child;
    if (stdin === undefined || typeof stdin === "number") return;
    stdin.write(`${line}\n`);
    stdin.flush();
  }
}

/** A running child that we write to. What it prints goes where its stderr goes. */
export class Consumer extends Child {
  /** @throws {VarveError} where the command cannot be run */
  constructor(command: readonly string[], options: ProducerOptions) {
    const { readFd, writeFd } = makePipe();
    preparePipe(writeFd);
    super(command, { stream: "stdin", ours: writeFd, theirs: readFd }, options);
  }
}

function spawn(command: readonly string[], program: string, { stream, ours, theirs, isAsked }: ChildPipe) {
  try {
    return Bun.spawn(ignoring(ignoredSignals(), command), {
      stdin: stream === "stdin" ? theirs : isAsked === true ? "pipe" : "ignore",
      stdout: stream === "stdout" ? theirs : "pipe",
      stderr: "pipe",
      env: childEnvironment(),
    });
  } catch (cause) {
    fs.closeSync(ours);
    throw new VarveError("failed", `Cannot run "${program}"`, { cause });
  } finally {
    fs.closeSync(theirs);
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
