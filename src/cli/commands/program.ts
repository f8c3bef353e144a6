/** All commands together: the command line is read here, and a mistake in it becomes a `UsageError`. */
import { CommanderError, Option } from "@commander-js/extra-typings";
import { UsageError } from "../../errors.ts";
import { replaceCommand, replaceOption } from "../other_names.ts";
import { addBackup } from "./backup.ts";
import { addCompletion } from "./completion.ts";
import { addForget } from "./forget.ts";
import { addCopy } from "./copy.ts";
import { addErase } from "./erase.ts";
import { addGc } from "./gc.ts";
import { addHelp, addVersion } from "./help.ts";
import { addHold, addRelease } from "./hold.ts";
import { addInit } from "./init.ts";
import { addList } from "./list.ts";
import { addRepair } from "./repair.ts";
import { addRestore } from "./restore.ts";
import { createRoot, type Invocation, type Root } from "../root.ts";
import { addShow } from "./show.ts";
import { addStats } from "./stats.ts";
import { addVerify } from "./verify.ts";

export function createProgram(invocation: Invocation): Root {
  const program = createRoot(invocation);
  program.commandsGroup("Back up and restore:");
  addInit(program, invocation);
  addBackup(program, invocation);
  addRestore(program, invocation);
  addList(program, invocation);
  addShow(program, invocation);
  addCopy(program, invocation);
  program.commandsGroup("Check and repair:");
  addVerify(program, invocation);
  addRepair(program, invocation);
  addStats(program, invocation);
  program.commandsGroup("Keep and delete:");
  addForget(program, invocation);
  addHold(program, invocation);
  addRelease(program, invocation);
  addGc(program, invocation);
  addErase(program, invocation);
  program.commandsGroup("Other commands:");
  addHelp(program);
  addVersion(program);
  addCompletion(program);
  for (const command of program.commands) command.addHelpOption(new Option("-h, --help").hideHelp());
  return program;
}

/** Runs the command that `argv` (without interpreter and script) names. */
export async function runProgram(program: Root, argv: string[]): Promise<void> {
  try {
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return; // help or version: printed
    const [first, second] = program.args;
    throw usageError(error, first === "help" ? second : first);
  }
}

/** The error for a command line that cannot be read. `word` stands where the name of a command is expected. */
function usageError(error: CommanderError, word = ""): UsageError {
  if (error.code === "commander.help") {
    return new UsageError("Cannot run varve: no command was given; see varve --help");
  }
  const command = replaceCommand(word);
  if (command !== undefined) {
    return new UsageError(`Cannot run "${word}": varve has no such command; use ${command}`);
  }
  const option = /^error: unknown option '([^']+)'/.exec(error.message)?.[1] ?? "";
  const other = replaceOption(option);
  if (other !== undefined) {
    return new UsageError(`Cannot use ${option}: varve has no such option; use ${other}`);
  }
  return new UsageError(`Cannot read the command line: ${error.message.replace(/^error: /, "")}`);
}
