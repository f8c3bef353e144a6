/** Runs the compiled file once, under limits that only a hang reaches, and tells how it went. */
import { VARVE_BIN } from "../kit/varve.ts";

/** A command that honest work could keep longer is asked to end earlier; see `askAfterMs`. */
const HANGS_AFTER_MS = 60_000;
/** From SIGTERM to SIGKILL. */
const ANSWERS_WITHIN_MS = 15_000;
/** So much of standard output is kept; whoever prints more finds the pipe closed. */
const STDOUT_BYTES_MAX = 16 * 1024 * 1024;

export interface RunOptions {
  env: Record<string, string>;
  cwd: string;
  stdin?: Uint8Array | undefined;
  /** When it is sent SIGTERM, milliseconds after its start; it hangs only if it does not answer that. */
  askAfterMs?: number | undefined;
}

export interface Ran {
  args: readonly string[];
  /** `null` where a signal ended it. */
  code: number | null;
  signal: string | number | null;
  stdout: Uint8Array;
  /** There was more than is kept. */
  isCut: boolean;
  stderr: string;
  /** The most memory that it had at once. No less than this process has, which starts it. */
  peakBytes: number;
  /** By itself; asked by a SIGTERM that was wanted; stuck: past the limit, but it answers SIGTERM; deaf: not even that. */
  ended: "itself" | "asked" | "stuck" | "deaf";
}

/** Runs `varve ARGS` to its end. */
export async function run(args: readonly string[], options: RunOptions): Promise<Ran> {
  const { env, cwd, stdin, askAfterMs } = options;
  const child = Bun.spawn([VARVE_BIN, ...args], {
    cwd,
    env: { PATH: process.env.PATH ?? "", ...env },
    stdin: stdin ?? new Uint8Array(),
    stdout: "pipe",
    stderr: "pipe",
  });
  let ended: Ran["ended"] = "itself";
  const ask = setTimeout(() => {
    ended = askAfterMs === undefined ? "stuck" : "asked";
    child.kill("SIGTERM");
  }, askAfterMs ?? HANGS_AFTER_MS);
  const kill = setTimeout(() => {
    ended = "deaf";
    child.kill("SIGKILL");
  }, (askAfterMs ?? HANGS_AFTER_MS) + ANSWERS_WITHIN_MS);
  try {
    const [out, stderr] = await Promise.all([readSome(child.stdout), new Response(child.stderr).text()]);
    await child.exited;
    const peakBytes = child.resourceUsage()?.maxRSS ?? 0;
    return { args, code: child.exitCode, signal: child.signalCode, ...out, stderr, peakBytes, ended };
  } finally {
    clearTimeout(ask);
    clearTimeout(kill);
  }
}

async function readSome(stream: ReadableStream<Uint8Array>): Promise<{ stdout: Uint8Array; isCut: boolean }> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of stream) {
    pieces.push(piece);
    length += piece.length;
    if (length > STDOUT_BYTES_MAX) break; // closes the pipe
  }
  return { stdout: Buffer.concat(pieces), isCut: length > STDOUT_BYTES_MAX };
}
