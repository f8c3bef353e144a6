/** Completions: what the shells ask, and real shells asking it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { VARVE, varve } from "../../kit/varve_from_source.ts";

const NO_FILES = ":4";
const FILES = ":0";

function complete(...words: string[]): string[] {
  const { code, stdout } = varve(["complete", "--", ...words]);
  expect(code).toBe(0);
  return stdout.trimEnd().split("\n").map((line) => line.split("\t")[0]!);
}

test("complete offers the commands when nothing is typed", () => {
  const words = complete("");
  expect(words).toEqual(
    expect.arrayContaining(["init", "backup", "restore", "list", "show", "completion", NO_FILES]),
  );
  expect(words).not.toContain("complete");
});

test("complete offers a command's own and the common options when a dash is typed", () => {
  expect(complete("backup", "acme/db", "--")).toEqual(
    expect.arrayContaining(["--exec", "--tag", "--repo", "--json"]),
  );
  expect(complete("list", "--f")).toEqual([NO_FILES]);
  expect(complete("show", "--f")).toEqual(["--field", NO_FILES]);
});

test("complete offers an option's choices when it has some", () => {
  expect(complete("--log-format", "")).toEqual(["json", "pretty", NO_FILES]);
  expect(complete("list", "--log-format", "p")).toEqual(["pretty", NO_FILES]);
  expect(complete("completion", "")).toEqual(["bash", "zsh", "fish", NO_FILES]);
});

test("complete leaves files to the shell when a file is wanted, and only then", () => {
  expect(complete("restore", "acme/db", "--to", "")).toEqual([FILES]);
  expect(complete("backup", "acme/db", "")).toEqual([FILES]);
  expect(complete("list", "--key-file", "x")).toEqual([FILES]);
  expect(complete("backup", "acm")).toEqual([NO_FILES]);
});

describe("a shell", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-completion-"));
  const inside = {
    cwd: folder,
    env: { PATH: `${folder}/bin:${process.env.PATH}`, HOME: folder },
    encoding: "utf8",
  } as const;

  beforeAll(() => {
    fs.mkdirSync(`${folder}/bin`);
    fs.writeFileSync(`${folder}/bin/varve`, `#!/bin/sh\nexec ${VARVE.join(" ")} "$@"\n`, { mode: 0o755 });
    fs.writeFileSync(`${folder}/precious`, "data");
  });
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  /** Runs the completion function as bash does when the last of `words` is completed. */
  function bash(...words: string[]): string[] {
    const script = `eval "$(varve completion bash)"
      compopt() { echo "compopt $*"; }
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _varve; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync(
      "bash",
      ["--norc", "-uc", script, "bash", "varve", ...words],
      inside,
    );
    expect(stderr).toBe("");
    return stdout.trimEnd().split("\n");
  }

  test("bash completes commands and options, and files only where they are wanted", () => {
    expect(bash("res")).toEqual(["compopt +o default", "restore"]);
    expect(bash("restore", "acme/db", "--k")).toEqual(["compopt +o default", "--keep-going", "--key-file"]);
    expect(bash("restore", "acme/db", "--to", "")).toEqual([""]);
  });

  test("bash does not run what is typed when the line redirects", () => {
    bash("restore", "acme/db", "--to", "-", ">", "precious", "");
    bash("list", "$(rm precious)", ";", "rm", "precious", "");
    expect(fs.readFileSync(`${folder}/precious`, "utf8")).toBe("data");
  });

  const noFish = spawnSync("fish", ["--version"]).status === 0 ? undefined : "skipped: fish is not installed";
  test.skipIf(noFish !== undefined)(`fish completes commands and options (${noFish ?? "fish"})`, () => {
    const script =
      'varve completion fish | source; complete --do-complete "varve res"; complete --do-complete "varve show --f"';
    const { stdout } = spawnSync("fish", ["--no-config", "-c", script], inside);
    expect(stdout.split("\n").map((line) => line.split("\t")[0])).toEqual(["restore", "--field", ""]);
  });

  const noZsh = spawnSync("zsh", ["--version"]).status === 0 ? undefined : "skipped: zsh is not installed";
  test.skipIf(noZsh !== undefined)(`zsh completes commands (${noZsh ?? "zsh"})`, () => {
    const script = `autoload -U compinit; compinit -u; source <(varve completion zsh)
      _describe() { print -rl -- "\${(@)completions}" }
      words=(varve res); CURRENT=2; _varve`;
    const { stdout } = spawnSync("zsh", ["-fc", script], inside);
    expect(stdout).toStartWith("restore:Restore a volume.");
  });
});
