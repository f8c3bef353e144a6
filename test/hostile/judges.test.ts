/** What the rounds of the hostile writer look at is seen: the judges know a bad run, and a change beside the repository. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { differences, lookAt, makeCanary } from "./canary.ts";
import type { Ran } from "./run.ts";
import { judge, MEMORY_BYTES_MAX } from "./told.ts";

function ran(changes: Partial<Ran> = {}): Ran {
  return {
    args: ["list"],
    code: 3,
    signal: null,
    stdout: new Uint8Array(),
    isCut: false,
    stderr: 'damaged: "x"\nvarve: Cannot read "x": it was changed\n',
    peakBytes: 1,
    ended: "itself",
    ...changes,
  };
}

describe("a run", () => {
  test("that fails with one line is right", () => {
    expect(judge(ran(), "text")).toEqual([]);
    const stderr = '{"error":{"code":"damage","exit":3,"message":"Cannot"}}\n';
    expect(judge(ran({ args: ["list", "--json"], stderr }), "json")).toEqual([]);
  });

  test.each<[string, Partial<Ran>]>([
    ["it hangs, and does not answer SIGTERM", { ended: "deaf", code: null }],
    ["it hangs until SIGTERM", { ended: "stuck", code: 130 }],
    ["it was ended by SIGSEGV", { code: null, signal: "SIGSEGV" }],
    ["its exit code is 7", { code: 7 }],
    ["it took 601 MiB of memory", { peakBytes: MEMORY_BYTES_MAX + 2 ** 20 }],
    ["the last line on standard error is not ended", { stderr: "varve: Cannot" }],
    ["the last line on standard error is not its error", { stderr: "varve: Cannot\nmore\n" }],
    ["it says an error, with exit code 0", { code: 0 }],
    ["standard error has raw control characters", { stderr: "varve: \u001b[31m\n" }],
    ["standard output has raw control characters", { stdout: Buffer.from("\u009b31m") }],
    ["standard output has raw characters that turn the direction of text", {
      stdout: Buffer.from("\u202e"),
    }],
    ['standard error has the runtime\'s words: "TypeError"', { stderr: "varve: TypeError: x\n" }],
    ['standard error has the runtime\'s words: "at /$bunfs/root/varve.js:1"', {
      stderr: "at /$bunfs/root/varve.js:1:2\nvarve: Cannot\n",
    }],
  ])("is told: %s", (violation, changes) => {
    expect(judge(ran(changes), "text")).toContain(violation);
  });

  test("that prints no JSON is told", () => {
    const changes = { args: ["list", "--json"], code: 0, stderr: "", stdout: Buffer.from("[") };
    expect(judge(ran(changes), "json")).toEqual(["what it prints is not JSON"]);
  });
});

describe("beside the repository", () => {
  let root: string;
  beforeEach(() => makeCanary(root = fs.mkdtempSync(path.join(tmpdir(), "varve-canary-"))));
  afterEach(() => fs.rmSync(root, { recursive: true }));

  test.each<[string, string[], () => void]>([
    ["nothing", [], () => {}],
    ["what is excepted", [], () => fs.writeFileSync(path.join(root, "own/file"), "")],
    ["a file that is gone", ['"letter.txt" beside the repository is gone'], () => {
      fs.rmSync(path.join(root, "letter.txt"));
    }],
    ["a file of another time", ['"empty" beside the repository was changed'], () => {
      fs.utimesSync(path.join(root, "empty"), 1, 1);
    }],
    ["a new folder", ['"folder/new" beside the repository is new'], () => {
      fs.mkdirSync(path.join(root, "folder/new"));
    }],
    ["the other name of a file, taken away", [], () => fs.rmSync(path.join(root, "own/letter"))],
    [
      "a file that was written to by its other name",
      ['"letter.txt" beside the repository was changed'],
      () => {
        fs.writeFileSync(path.join(root, "own/letter"), "other");
      },
    ],
  ])("is seen: %s", (_, expected, change) => {
    fs.mkdirSync(path.join(root, "own"));
    fs.linkSync(path.join(root, "letter.txt"), path.join(root, "own/letter"));
    const before = lookAt(root, ["own"]);
    change();
    const seen = [...differences(before, lookAt(root, ["own"]))];
    expect(seen.filter((line) => !/^"(folder)?" beside/.test(line))).toEqual(expected);
  });
});
