/** Runs one command and tells what it cost. */

export interface Cost {
  wallS: number;
  /** Of the command and its children. */
  cpuS: number;
  /** Of the largest process among them; 0 where the shell in between hides it. */
  peakBytes: number;
  stdout: string;
}

export interface RunOptions {
  /** Given to the command as standard input. */
  input?: string | undefined;
  env?: Record<string, string>;
  cwd?: string;
}

/** Runs `argv`; throws with what it said where it fails. The page cache is as the runs before left it. */
export async function measure(argv: string[], options: RunOptions = {}): Promise<Cost> {
  const startNs = Bun.nanoseconds();
  const child = Bun.spawn(argv, {
    stdin: options.input === undefined ? "ignore" : Bun.file(options.input),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const wallS = (Bun.nanoseconds() - startNs) / 1e9;
  if (child.exitCode !== 0) {
    throw new Error(`${argv.join(" ")}: exit ${child.exitCode}: ${stderr.slice(-500)}`);
  }
  const usage = child.resourceUsage()!;
  return { wallS, cpuS: Number(usage.cpuTime.total) / 1e6, peakBytes: usage.maxRSS, stdout };
}

/** `sh -c`, for pipelines. */
export function shell(script: string): string[] {
  return ["bash", "-o", "pipefail", "-c", script];
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
