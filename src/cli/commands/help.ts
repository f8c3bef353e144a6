/** `varve help` and `varve version`: what `--help` and `--version` print, for those who try a command first. */
import { print, printJson } from "../terminal/output.ts";
import { examples, type Root, VERSION } from "../root.ts";

export function addHelp(program: Root): void {
  program.command("help")
    .description("Show the help of varve or of one command.")
    .argument("[name]", "command")
    .addHelpText("after", examples(["varve help restore", "show the options and examples of a command"]))
    .action((name) => {
      if (name === undefined) return program.help();
      const command = program.commands.find((command) => command.name() === name);
      if (command !== undefined) return command.help();
      program.error(`unknown command '${name}'`, { code: "commander.unknownCommand" });
    });
}

export function addVersion(program: Root): void {
  program.command("version")
    .description("Print the version.")
    .addHelpText("after", examples(["varve version", "print the version, as varve --version does"]))
    .action((_, command) => {
      if (command.optsWithGlobals().json === true) printJson({ version: VERSION });
      else print(`varve ${VERSION}\n`);
    });
}
