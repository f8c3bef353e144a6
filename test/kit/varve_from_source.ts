/** Runs the program from source, as a user would type it. */
import { spawnSync } from "node:child_process";
import * as path from "node:path";

const MAIN = path.join(import.meta.dir, "../../src/main.ts");
/** Ends a run that hangs; nothing is measured by it. */
const LIMIT_MS = 60_000;

export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  input?: Uint8Array;
}

/** The words that start the program: a command for `spawn`, or (joined) for a shell. */
export const VARVE = [process.execPath, MAIN] as const;

export function varve(args: string[], { env = {}, input }: RunOptions = {}): Result {
  const [command, ...first] = VARVE;
  const { status, stdout, stderr } = spawnSync(command, [...first, ...args], {
    env: { PATH: process.env.PATH, HOME: "/nonexistent", ...env },
    timeout: LIMIT_MS,
    ...(input === undefined ? {} : { input }),
  });
  return { code: status, stdout: stdout.toString(), stderr: stderr.toString() };
}
