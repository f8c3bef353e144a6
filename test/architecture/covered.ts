/** Every source is under a test that can be found by its name: the rule, as a function of what there is. */

export interface Tested {
  /** The sources that hold more than types, below the checkout: `src/util/bytes.ts`. */
  sources: readonly string[];
  /** The test files. */
  tests: readonly string[];
  /** The test that covers a source which has none of its own name. */
  coveredBy: Readonly<Record<string, string>>;
  /** Whether the test runs code of the source. */
  reaches: (test: string, source: string) => boolean;
}

/** The test file of the same name: `test/util/bytes.test.ts` of `src/util/bytes.ts`. */
export function testOf(source: string): string {
  return source.replace(/^src\//, "test/").replace(/\.ts$/, ".test.ts");
}

/** A line for each source whose test cannot be found, and for each line of the table that does not hold. */
export function findUncovered({ sources, tests, coveredBy, reaches }: Tested): string[] {
  const problems: string[] = [];
  const check = (test: string, source: string) => {
    if (!reaches(test, source)) problems.push(`${test} does not reach ${source}`);
  };
  for (const source of sources) {
    const [own, other] = [testOf(source), coveredBy[source]];
    if (tests.includes(own)) check(own, source);
    else if (other === undefined) problems.push(`${source} has neither ${own} nor a line in covered_by.ts`);
    else if (tests.includes(other)) check(other, source);
    else problems.push(`covered_by.ts names ${other} for ${source}: there is no such test`);
  }
  for (const source of Object.keys(coveredBy)) {
    if (!sources.includes(source)) {
      problems.push(`covered_by.ts names ${source}: there is no such source with code`);
    } else if (tests.includes(testOf(source))) {
      problems.push(`covered_by.ts names ${source}, which has ${testOf(source)}`);
    }
  }
  return problems;
}
