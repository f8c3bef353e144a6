/** The program: arguments in, exit code out. The only place that maps errors to exit codes. */
import { createProgram, runProgram } from "./cli/program.ts";
import { standardError } from "./cli/screen.ts";
import { watchProcessSignals } from "./cli/signals.ts";
import { INTERRUPTED_EXIT_CODE, UNWAITED } from "./cli/watchdog.ts";
import { describeError, type ErrorCode, VarveError } from "./errors.ts";
import { forbidDumps } from "./os/dumps.ts";

forbidDumps();
const screen = standardError();
const signal = watchProcessSignals(endAtOnce);
const program = createProgram({ env: process.env, screen, signal });

process.on("uncaughtException", (error) => process.exit(report(error)));
process.on("unhandledRejection", (error) => process.exit(report(error)));
process.exit(await runProgram(program, process.argv.slice(2)).then(() => 0, report));

/** One line for people; returns the exit code. */
function report(error: unknown): number {
  screen.erase();
  screen.write(`varve: ${describeError(error)}\n`);
  const { logLevel } = program.opts();
  if (logLevel === "debug" || logLevel === "trace") screen.write(stacks(error));
  return exitCode(error instanceof VarveError ? error.code : "failed");
}

/** Where the error and its causes come from, without the source: that is one long line in the built file. */
function stacks(error: unknown): string {
  return error instanceof Error ? `${error.stack}\n${stacks(error.cause)}` : "";
}

function endAtOnce(): never {
  screen.erase();
  screen.write(UNWAITED);
  process.exit(exitCode("interrupted"));
}

function exitCode(code: ErrorCode): number {
  switch (code) {
    case "failed":
      return 1;
    case "usage":
      return 2;
    case "damage":
      return 3;
    case "not_found":
      return 4;
    case "no_repository":
      return 10;
    case "conflict":
      return 11;
    case "format_version":
      return 12;
    case "wrong_secret":
      return 13;
    case "interrupted":
      return INTERRUPTED_EXIT_CODE;
  }
}
