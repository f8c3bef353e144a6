/** All commands together: the command line is read here, and a mistake in it becomes a `UsageError`. */
import { CommanderError } from "@commander-js/extra-typings";
import { UsageError } from "../../errors.ts";
import { addBackup } from "./backup.ts";
import { addCompletion } from "./completion.ts";
import { addForget } from "./forget.ts";
import { addCopy } from "./copy.ts";
import { addErase } from "./erase.ts";
import { addGc } from "./gc.ts";
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
