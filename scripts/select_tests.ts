/**
 * Prints the test files that scripts/test runs with the same options, one a line.
 * usage: bun scripts/select_tests.ts [--fast] [--changed BASE]
 */
import { parseArgs } from "node:util";
import { COVERED_BY } from "../test/architecture/covered_by.ts";
import { ImportGraph } from "../test/kit/import_graph.ts";

const ROOT = new URL("..", import.meta.url).pathname;
/** A test that reaches one of these is no unit test. */
const NOT_FAST = [
  "test/kit/varve.ts", // the compiled file
  "test/kit/servers.ts", // MinIO and Ceph
  "test/kit/varve_from_source.ts", // a process for each command
  "test/property/", // many rounds
  "test/simulation/main.ts", // many seeds
];
/** Every test depends on these, although none imports them. */
const IMPORTED_BY_ALL = ["package-lock.json"];

const { values } = parseArgs({
  options: { fast: { type: "boolean", default: false }, changed: { type: "string" } },
});
const graph = new ImportGraph(ROOT);
const changed = values.changed === undefined ? undefined : changedSince(values.changed);
for (const test of [...new Bun.Glob("test/**/*.test.ts").scanSync(ROOT)].toSorted()) {
  if (values.fast && !isFast(test)) continue;
  if (changed === undefined || isTouched(test, changed)) console.log(test);
}

function isFast(test: string): boolean {
  return ![...graph.reachedFrom(test)].some((file) => NOT_FAST.some((slow) => file.startsWith(slow)));
}

/** Whether the test reaches a changed file, or is the one that covers it. */
function isTouched(test: string, changed: readonly string[]): boolean {
  const reached = [...graph.reachedFrom(test)];
  return changed.some((file) =>
    IMPORTED_BY_ALL.includes(file) || COVERED_BY[file] === test ||
    reached.some((used) => `${file}/`.startsWith(`${used}/`))
  );
}

/** Files that differ between the commit and the working tree, and those that git does not track yet. */
function changedSince(base: string): string[] {
  return [...git("diff", "--name-only", base), ...git("ls-files", "--others", "--exclude-standard")];
}

function git(...args: string[]): string[] {
  const { success, stdout, stderr } = Bun.spawnSync(["git", "-C", ROOT, ...args]);
  if (!success) throw new Error(`git ${args.join(" ")}: ${stderr.toString().trim()}`);
  return stdout.toString().split("\n").filter((line) => line !== "");
}
