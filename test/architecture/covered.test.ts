/** Every source has a test of its own name, or a line in covered_by.ts that names the test that covers it. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ImportGraph } from "../kit/import_graph.ts";
import { findUncovered, type Tested, testOf } from "./covered.ts";
import { COVERED_BY } from "./covered_by.ts";

const ROOT = join(import.meta.dirname, "../..");
/** Tests that run the whole program import nothing of it. */
const PROGRAM = ["test/kit/varve.ts", "test/kit/varve_from_source.ts"];
/** What the program begins with, and what scripts/build.ts puts into it. */
const ENTRIES = ["src/main.ts", "src/os/addon.ts"];

function checkout(): Tested {
  const graph = new ImportGraph(ROOT);
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  const filesOf = (pattern: string) => [...new Bun.Glob(pattern).scanSync(ROOT)].toSorted();
  const hasCode = (file: string) =>
    transpiler.transformSync(readFileSync(join(ROOT, file), "utf8")).trim() !== "";
  return {
    sources: filesOf("src/**/*.ts").filter(hasCode),
    tests: filesOf("test/**/*.test.ts"),
    coveredBy: COVERED_BY,
    reaches(test, source) {
      const reached = graph.reachedFrom(test);
      if (reached.has(source)) return true;
      return PROGRAM.some((file) => reached.has(file)) &&
        ENTRIES.some((entry) => graph.reachedFrom(entry).has(source));
    },
  };
}

/** One source, with a test of its own name that reaches it. */
const SOUND: Tested = {
  sources: ["src/util/a.ts"],
  tests: ["test/util/a.test.ts"],
  coveredBy: {},
  reaches: () => true,
};

describe("findUncovered()", () => {
  test("finds nothing in this checkout", () => {
    expect(findUncovered(checkout())).toEqual([]);
  });

  test("finds nothing where each source has a test of its own name, or a line that holds", () => {
    expect(findUncovered(SOUND)).toEqual([]);
    const tests = ["test/e2e/b.test.ts"];
    expect(findUncovered({ ...SOUND, tests, coveredBy: { "src/util/a.ts": "test/e2e/b.test.ts" } })).toEqual(
      [],
    );
  });

  test.each<[string, Partial<Tested>, RegExp]>([
    [
      "a source without either",
      { tests: [] },
      /^src\/util\/a.ts has neither test\/util\/a.test.ts nor a line/,
    ],
    ["a test that does not reach its source", { reaches: () => false }, /does not reach src\/util\/a.ts/],
    [
      "a line with a test that is not there",
      { tests: [], coveredBy: { "src/util/a.ts": "test/b.test.ts" } },
      /no such test/,
    ],
    [
      "a line with a test that does not reach the source",
      { tests: ["test/b.test.ts"], coveredBy: { "src/util/a.ts": "test/b.test.ts" }, reaches: () => false },
      /^test\/b.test.ts does not reach/,
    ],
    [
      "a line about a source that is not there",
      { coveredBy: { "src/b.ts": "test/util/a.test.ts" } },
      /no such source/,
    ],
    [
      "a line about a source that has a test",
      { coveredBy: { "src/util/a.ts": "test/util/a.test.ts" } },
      /which has/,
    ],
  ])("finds %s", (_, part, problem) => {
    expect(findUncovered({ ...SOUND, ...part })).toEqual([expect.stringMatching(problem)]);
  });
});

test("testOf() mirrors the path", () => {
  expect(testOf("src/store/s3/etag.ts")).toBe("test/store/s3/etag.test.ts");
});
