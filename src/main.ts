/** The program: arguments in, exit code out. The only place that maps errors to exit codes. */
import { lastLine, wantsJson } from "./cli/terminal/last_line.ts";
import { createProgram, runProgram } from "./cli/commands/program.ts";
import { standardError } from "./cli/terminal/screen.ts";
import { watchProcessSignals } from "./cli/signals.ts";
import { INTERRUPTED_EXIT_CODE, UNWAITED } from "./cli/watchdog.ts";
import { describeError, type ErrorCode, LeftOutError, VarveError } from "./errors.ts";
import { hideOwnVariables } from "./os/child_environment.ts";
import { forbidDumps } from "./os/dumps.ts";

forbidDumps();
const screen = standardError();
const words = process.argv.slice(2);
const json = wantsJson(words);
const unwaited = lastLine(
  { code: "interrupted", exit: INTERRUPTED_EXIT_CODE, message: UNWAITED },
  { json },
);
const signal = watchProcessSignals({ exit: endAtOnce, lastLine: unwaited });
const program = createProgram({ env: { ...process.env }, screen, signal })
  .hook("preAction", hideOwnVariables); // the command line is read, with what it has from the environment

process.on("uncaughtException", (error) => process.exit(report(error)));
process.on("unhandledRejection", (error) => process.exit(report(error)));
process.exit(await runProgram(program, words).then(() => 0, report));

/** The error, as the last line; returns the exit code. */
function report(error: unknown): number {
  screen.erase();
  const { logLevel } = program.opts();
  if (logLevel === "debug" || logLevel === "trace") screen.write(stacks(error));
  const code = error instanceof VarveError ? error.code : "failed";
  const exit = exitCode(code);
  const skipped = error instanceof LeftOutError ? error.leftOut : undefined;
  screen.write(lastLine({ code, exit, message: describeError(error), skipped }, { json }));
  return exit;
}

/** Where the error and its causes come from, without the source: that is one long line in the built file. */
function stacks(error: unknown): string {
  return error instanceof Error ? `${error.stack}\n${stacks(error.cause)}` : "";
}

function endAtOnce(): never {
  screen.erase();
  screen.write(unwaited);
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
