/** A restore writes nothing into the repository that it reads. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { assertOutside } from "../../src/targets/outside.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();
const repository = path("repository");
fs.mkdirSync(`${repository}/projects`, { recursive: true });
fs.mkdirSync(path("beside"));
fs.writeFileSync(`${repository}/varve.json`, "{}");
fs.symlinkSync(repository, path("link"));
fs.symlinkSync(`${repository}/varve.json`, path("file"));
fs.symlinkSync(`${repository}/none`, path("dangling"));

test.each([
  ["a file of it", `${repository}/varve.json`],
  ["a new file deep in it", `${repository}/projects/new`],
  ["a path through a link", path("link/new")],
  ["a link to a file of it", path("file")],
  ["a link to nothing in it", path("dangling")],
])("assertOutside() refuses %s", (_, name) => {
  expect(() => assertOutside(name, repository)).toThrow(`"${name}": it is in the repository "${repository}"`);
  expect(() => assertOutside(name, path("link"))).toThrow("it is in the repository");
});

test.each(["beside/new", "repository.img", "none/new"])("assertOutside() lets %s be", (name) => {
  assertOutside(path(name), repository);
});

test("assertOutside() lets everything be where the repository is no directory", () => {
  assertOutside(`${repository}/new`, "s3://bucket/repository");
  assertOutside(`${repository}/new`, path("gone"));
});
