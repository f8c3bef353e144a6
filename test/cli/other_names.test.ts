import { expect, test } from "bun:test";
import { replaceCommand, replaceOption } from "../../src/cli/other_names.ts";

test.each([
  ["snapshots", "varve list"],
  ["ls", "varve list"],
  ["find", "varve list"],
  ["mount", "varve restore"],
  ["check", "varve verify"],
  ["rm", "varve forget"],
  ["delete", "varve forget"],
  ["prune", "varve gc"],
])("replaceCommand() of %s is %s", (name, command) => {
  expect(replaceCommand(name)).toBe(command);
});

test("replaceCommand() and replaceOption() know nothing of other words", () => {
  for (const word of ["backup", "bakup", "", "constructor"]) expect(replaceCommand(word)).toBeUndefined();
  for (const flag of ["--repo", "--kep", "", "toString"]) expect(replaceOption(flag)).toBeUndefined();
});

test("replaceOption() names the option that does the same", () => {
  expect(replaceOption("--prune")).toBe("varve gc, after varve forget");
  expect(replaceOption("-n")).toBe("--dry-run");
});
