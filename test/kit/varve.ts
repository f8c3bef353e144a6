/**
 * Runs the built program as a user does: the one file, from a folder that is not the checkout, with an environment that
 * holds nothing but what the test gives. `VARVE_BIN` names another file than `dist/varve`.
 */
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const VARVE_BIN = process.env.VARVE_BIN ?? join(import.meta.dirname, "../../dist/varve");
/** Ends a run that hangs; nothing is measured by it. */
const LIMIT_MS = 120_000;

export interface VarveOptions {
  /** Added to a PATH and a home that cannot be. */
  env?: Record<string, string> | undefined;
  /** Standard input: bytes, a `Bun.file`, or another child's output. Empty if left out. */
  stdin?: Uint8Array | Blob | ReadableStream<Uint8Array> | undefined;
  /** Where it runs. The folder for temporary files if left out. */
  cwd?: string | undefined;
}

export interface VarveResult {
  /** `null` where a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `varve ARGS` to its end. */
export async function varve(args: readonly string[], options: VarveOptions = {}): Promise<VarveResult> {
  const { bytes, ...result } = await varveBytes(args, options);
  return { ...result, stdout: Buffer.from(bytes).toString() };
}

/** The same where standard output is no text: a volume, or a snapshot's name. */
export async function varveBytes(
  args: readonly string[],
  options: VarveOptions = {},
): Promise<{ code: number | null; bytes: Uint8Array; stderr: string }> {
  const child = startVarve(args, options);
  const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  try {
    const [bytes, stderr] = await Promise.all([
      new Response(child.stdout).bytes(),
      new Response(child.stderr).text(),
    ]);
    await child.exited;
    return { code: child.exitCode, bytes, stderr };
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a command that has to succeed with `--json`, and returns what it printed. */
export async function varveJson<T>(args: readonly string[], options: VarveOptions = {}): Promise<T> {
  const { code, stdout, stderr } = await varve(["--json", ...args], options);
  if (code !== 0) throw new Error(`varve ${args.join(" ")} exited with ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

/** Starts `varve ARGS` for a test that interrupts it; the caller reads both pipes and waits for the end. */
export function startVarve(args: readonly string[], { env = {}, stdin, cwd = tmpdir() }: VarveOptions = {}) {
  if (!existsSync(VARVE_BIN)) throw new Error(`${VARVE_BIN} is not built: npm run build`);
  return Bun.spawn([VARVE_BIN, ...args], {
    cwd,
    env: { PATH: process.env.PATH ?? "", HOME: "/dev/null", ...env },
    stdin: stdin ?? new Uint8Array(),
    stdout: "pipe",
    stderr: "pipe",
  });
}
