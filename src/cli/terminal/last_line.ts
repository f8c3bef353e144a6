/** The last line on standard error of a command that failed: for people, or with `--json` for scripts. README, "Exit codes". */
import { type ErrorCode, escapeJson, type LeftOut } from "../../errors.ts";

interface Failure {
  code: ErrorCode;
  /** The process's exit code. */
  exit: number;
  message: string;
  skipped?: readonly LeftOut[] | undefined;
}

/** With its newline. The JSON document is one line. */
export function lastLine(failure: Failure, { json }: { json: boolean }): string {
  if (!json) return `varve: ${failure.message}\n`;
  return `${escapeJson(JSON.stringify({ error: failure }))}\n`;
}

/** Whether the words after `varve` ask for JSON; also where they cannot be read as a command line. */
export function wantsJson(words: readonly string[]): boolean {
  const end = words.indexOf("--");
  return words.slice(0, end < 0 ? undefined : end).includes("--json");
}
