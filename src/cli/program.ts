/** All commands together: the command line is read here, and a mistake in it becomes a `UsageError`. */
import { CommanderError } from "@commander-js/extra-typings";
import { UsageError } from "../errors.ts";
import { addBackup } from "./commands/backup.ts";
import { addCompletion } from "./commands/completion.ts";
import { addForget } from "./commands/forget.ts";
import { addCopy } from "./commands/copy.ts";
import { addErase } from "./commands/erase.ts";
import { addGc } from "./commands/gc.ts";
import { addHold, addRelease } from "./commands/hold.ts";
import { addInit } from "./commands/init.ts";
import { addList } from "./commands/list.ts";
import { addRepair } from "./commands/repair.ts";
import { addRestore } from "./commands/restore.ts";
import { createRoot, type Invocation, type Root } from "./root.ts";
import { addShow } from "./commands/show.ts";
import { addStats } from "./commands/stats.ts";
import { addVerify } from "./commands/verify.ts";

export function createProgram(invocation: Invocation): Root {
  const program = createRoot(invocation);
  addInit(program, invocation);
  addBackup(program, invocation);
  addRestore(program, invocation);
  addList(program, invocation);
  addShow(program, invocation);
  addStats(program, invocation);
  addVerify(program, invocation);
  addRepair(program, invocation);
  addForget(program, invocation);
  addHold(program, invocation);
  addRelease(program, invocation);
  addGc(program, invocation);
  addCopy(program, invocation);
  addErase(program, invocation);
  addCompletion(program);
  return program;
}

/** Runs the command that `argv` (without interpreter and script) names. */
export async function runProgram(program: Root, argv: string[]): Promise<void> {
  try {
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return; // help or version: printed
    throw usageError(error);
  }
}

function usageError(error: CommanderError): UsageError {
  if (error.code === "commander.help") {
    return new UsageError("Cannot run varve: it wants a command, see varve --help");
  }
  return new UsageError(`Cannot read the command line: ${error.message.replace(/^error: /, "")}`);
}
