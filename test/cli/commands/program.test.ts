/** The command line as a user meets it: help, versions, and what is wrong with a line. */
import { describe, expect, test } from "bun:test";
import { varve } from "../../kit/varve_from_source.ts";

const COMMANDS = [
  ...["init", "backup", "restore", "list", "show", "copy", "verify", "repair", "stats"],
  ...["forget", "hold", "release", "gc", "erase", "help", "version", "completion"],
];

test.each(["--version", "-V", "version"])("varve %s prints the version", (word) => {
  expect(varve([word])).toEqual({ code: 0, stdout: "varve (from source)\n", stderr: "" });
});

test("varve version --json prints one document", () => {
  expect(JSON.parse(varve(["version", "--json"]).stdout)).toEqual({ version: "(from source)" });
});

test("varve help prints the help of varve, or of the command that it names", () => {
  expect(varve(["help"])).toEqual(varve(["--help"]));
  expect(varve(["help", "gc"])).toEqual(varve(["gc", "--help"]));
});

test.each(COMMANDS)("varve %s --help has examples and one line about the global options", (name) => {
  const { code, stdout, stderr } = varve([name, "--help"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toStartWith(`Usage: varve ${name} `);
  expect(stdout).toMatch(/\nExamples:\n {2}# .+\n {2}\S/);
  expect(stdout).toEndWith("\n\nGlobal options: see varve --help\n");
  expect(stdout).not.toContain("--log-level <level>");
});

test("varve --help has examples, the global options and every command", () => {
  const { code, stdout, stderr } = varve(["--help"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/\nExamples:\n {2}# .+\n {2}\S/);
  expect(stdout).toContain("--passphrase-file <path>");
  expect(stdout).not.toContain("Global options:");
  const listed = stdout.split("\nBack up and restore:\n")[1]!.split("\nExamples:\n")[0]!;
  expect(listed.match(/^ {2}\w+/gm)!.map((name) => name.trim())).toEqual(COMMANDS);
});

describe("varve exits with 2 and one line", () => {
  test.each<[string, string[], string]>([
    ["the command is unknown", ["bakup"], "unknown command 'bakup' (Did you mean backup?)"],
    ["the command of help is unknown", ["help", "bakup"], "unknown command 'bakup'"],
    ["the command has another name", ["--quiet", "snapshots"], 'Cannot run "snapshots": varve has no such'],
    ["such a command has options", ["prune", "-x"], "use varve gc"],
    ["help is asked for such a command", ["help", "rm"], "use varve forget"],
    ["an option is unknown", ["backup", "a/b", "--bogus"], "unknown option '--bogus'"],
    ["an option has another name", ["forget", "a", "--keep", "3"], "use --keep-last"],
    ["an option is missing", ["restore", "a/b"], "the target is missing; give either --to or --exec"],
    ["a size is none", ["init", "--chunk-size", "4X"], "Expected a size such as 4M"],
    ["a choice is none", ["list", "--log-level", "zap"], "Allowed choices are trace, debug"],
    ["an argument is too many", ["list", "a", "b"], "too many arguments"],
    ["--exec has no command", ["backup", "a/b", "--exec"], "--exec needs a command"],
    ["there are two sources", ["backup", "a/b", "x", "y"], 'Cannot back up "y": only one source is allowed'],
    ["a backup names a point", ["backup", "a/b@c", "x"], 'Cannot back up to "a/b@c"'],
    ["a tag is no word", ["backup", "a/b", "x", "--tag", "two words"], "Expected one word"],
    [
      "tags are too many",
      ["backup", "a/b", "x", ...Array(65).fill("--tag=t")],
      "A restore point has at most 64 tags",
    ],
    ["a reason is too long", ["hold", "a/b@c", "--reason", "é".repeat(501)], "Expected at most 1000 bytes"],
    ["a tag is empty", ["backup", "a/b", "x", "--tag", ""], "Expected one word"],
    ["a tag holds a control character", ["backup", "a/b", "x", "--tag", "a\u001b[31m"], "Expected one word"],
    ["a listing names a point", ["list", "a/b@c"], 'Cannot list "a/b@c": remove the @ part'],
    ["a count names a point", ["stats", "a/b@c"], 'Cannot count "a/b@c"'],
    [
      "nothing says what stays",
      ["forget", "a/b", "--keep-tag", "t"],
      "no rule says which restore points to keep",
    ],
    [
      "a point and a rule are given",
      ["forget", "a/b@c", "--keep-last", "1"],
      "a single restore point is forgotten by name",
    ],
    ["a number is none", ["forget", "a", "--keep-last", "0"], "Expected a whole number from 1"],
    ["an age is none", ["forget", "a", "--keep-within", "30"], "Expected a duration such as 12h"],
    [
      "a share is none",
      ["forget", "a", "--keep-last", "1", "--max-drop", "0%"],
      "Expected a share from 1% to 100%",
    ],
    ["no point is named", ["hold", "a/b"], "expected PROJECT/VOLUME@POINT"],
    ["a volume has no project", ["show", "b"], "expected PROJECT/VOLUME"],
  ])("when %s", (_, args, text) => {
    const { code, stdout, stderr } = varve(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(text);
    expect(stderr).toMatch(/^varve: Cannot [^\n]+\n$/);
  });
});

test("varve shows its help and exits with 2 when there is no command", () => {
  const { code, stdout, stderr } = varve([]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toStartWith("Usage: varve ");
});

test("varve shows where an error comes from when the log level is debug, and only then", () => {
  expect(varve(["show", "nameless"]).stderr).not.toContain("\n    ");
  expect(varve(["show", "nameless", "--log-level", "debug"]).stderr).toContain("parseVolumeSpec");
});
