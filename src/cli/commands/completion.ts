/** `varve completion bash|zsh|fish`, and the hidden `varve complete -- WORDS` that those scripts ask. */
import tab from "@bomb.sh/tab/commander";
import { type RootCommand, ShellCompDirective } from "@bomb.sh/tab";
import { print } from "../terminal/output.ts";
import { examples, type Root } from "../root.ts";

/** The library knows one more, which we do not test. */
const SHELLS = ["bash", "zsh", "fish"];

/** Options and arguments whose value is a file's name. */
const FILE_OPTIONS = ["repo", "passphrase-file", "key-file", "to"];
const FILE_ARGUMENTS = ["source", "command"];

/**
 * Ours, since the library's evaluates the line as typed so far: with `> /dev/sdb` in it, the completions would go
 * there. It also needs the bash-completion package, and completes no files.
 */
const BASH_SCRIPT = `# bash completion for varve
_varve() {
  local value rest
  COMPREPLY=()
  while IFS=$'\\t' read -r value rest; do
    case $value in
      :${ShellCompDirective.ShellCompDirectiveNoFileComp}) compopt +o default ;;
      :* | "") ;;
      *) COMPREPLY+=("$value") ;;
    esac
  done < <(varve complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _varve varve
`;

const EXAMPLES = examples(
  ["varve completion bash > /etc/bash_completion.d/varve", "install it for bash"],
  ['varve completion zsh > "${fpath[1]}/_varve"', "install it for zsh"],
  ["varve completion fish > ~/.config/fish/completions/varve.fish", "install it for fish"],
);

/** To be called when all other commands are there. */
export function addCompletion(program: Root): void {
  const completion = tab(program as unknown as Parameters<typeof tab>[0], {
    completionCommandName: "completion",
  });
  const command = program.commands.find((command) => command.name() === "completion")!;
  command.registeredArguments[0]!.choices(SHELLS);
  command.description("Print the shell completion script for bash, zsh or fish.");
  command.addHelpText("after", EXAMPLES);
  command.action((...[shell]) => {
    if (shell === "bash") print(BASH_SCRIPT);
    else completion.setup("varve", "varve", String(shell));
  });
  completeWords(completion, { command: "completion", argument: "shell", words: SHELLS });
  completeCommonOptions(completion);
  completeFiles(completion);
  const words = [...completion.commands.keys()];
  completeWords(completion, { command: "help", argument: "name", words });
}

function completeWords(
  { commands }: RootCommand,
  { command, argument, words }: { command: string; argument: string; words: readonly string[] },
): void {
  commands.get(command)!.arguments.get(argument)!.handler = (complete) =>
    words.forEach((word) => complete(word, ""));
}

/** The library knows a command's own options only; ours are taken after a command as well. */
function completeCommonOptions(root: RootCommand): void {
  for (const command of root.commands.values()) {
    for (const [name, option] of root.options) {
      if (!command.options.has(name)) command.options.set(name, option);
    }
  }
}

/** Leaves files to the shell: the library always tells it not to offer any. */
function completeFiles(root: RootCommand): void {
  let directive: number = ShellCompDirective.ShellCompDirectiveNoFileComp;
  const handler = () => void (directive = ShellCompDirective.ShellCompDirectiveDefault);
  Object.defineProperty(root, "directive", { get: () => directive, set: () => {} });
  for (const { options, arguments: parameters } of [root, ...root.commands.values()]) {
    for (const option of FILE_OPTIONS.map((name) => options.get(name))) if (option) option.handler = handler;
    for (const argument of FILE_ARGUMENTS.map((name) => parameters.get(name))) {
      if (argument) argument.handler = handler;
    }
  }
}
