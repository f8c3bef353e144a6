/** Runs shell scripts, and tells what one cost. */
import { readFile, rm } from "node:fs/promises";

export interface Cost {
  wallS: number;
  /** Of the script and everything that it starts. */
  cpuS: number;
  /** Of the largest process among them. */
  peakBytes: number;
}

export interface RunOptions {
  /** All that there is; without it this process's own. */
  env?: Record<string, string> | undefined;
  cwd?: string | undefined;
}

export interface MeasureOptions extends RunOptions {
  limitS: number;
  /** A path that is free for the figures. */
  figures: string;
}

/** For what is not measured. */
const PREPARE_LIMIT_S = 900;
/** After the time limit: how long a program that was told to end may take for it. */
const GRACE_S = 10;
const TIMED_OUT = [124, 137];

let running: Bun.Subprocess | undefined;
let interrupted = false;

export class InterruptedError extends Error {
  constructor() {
    super("interrupted");
  }
}

/** Runs `script` in bash and resolves to its standard output; rejects with what it said where a part of it fails. */
export async function run(script: string, options: RunOptions = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await start(shell(script), { ...options, limitS: PREPARE_LIMIT_S });
  if (exitCode !== 0) throw failure(script, { exitCode, stderr });
  return stdout;
}

/**
 * Runs `script` in bash; "timed out" where it takes longer than the limit, after which it is killed.
 *
 * GNU time starts it, as the peak memory of a child that is started from here would not be less than that of this
 * process: Linux counts from before the exec.
 */
export async function measure(script: string, options: MeasureOptions): Promise<Cost | "timed out"> {
  const { figures } = options;
  const time = ["/usr/bin/time", "-q", "-o", figures, "-f", "%U %S %M"];
  const startNs = Bun.nanoseconds();
  const { exitCode, stderr } = await start([...time, ...shell(script)], options);
  const wallS = (Bun.nanoseconds() - startNs) / 1e9;
  if (TIMED_OUT.includes(exitCode)) return "timed out";
  if (exitCode !== 0) throw failure(script, { exitCode, stderr });
  const [userS, systemS, peakKib] = (await readFile(figures, "utf8")).trim().split(" ").map(Number);
  await rm(figures);
  return { wallS, cpuS: userS! + systemS!, peakBytes: peakKib! * 1024 };
}

/** Ends what runs now, with all that it started; from now on everything is refused with an `InterruptedError`. */
export function interrupt(): void {
  interrupted = true;
  running?.kill("SIGTERM");
}

async function start(argv: string[], { env, cwd, limitS }: RunOptions & { limitS: number }) {
  if (interrupted) throw new InterruptedError();
  const child = Bun.spawn(["timeout", "-k", String(GRACE_S), String(limitS), ...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: env ?? process.env,
    ...(cwd === undefined ? {} : { cwd }),
  });
  running = child;
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (interrupted) throw new InterruptedError();
  return { stdout, stderr, exitCode };
}

function shell(script: string): string[] {
  return ["bash", "-e", "-o", "pipefail", "-c", script];
}

function failure(script: string, { exitCode, stderr }: { exitCode: number; stderr: string }): Error {
  return new Error(`Cannot run "${script}": exit code ${exitCode}: ${stderr.slice(-500).trim()}`);
}
