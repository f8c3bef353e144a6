/** Coverage against a plain array of booleans. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Coverage, type Range } from "../../src/util/ranges.ts";

const SIZE = 40;
const range = fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([a, b]): Range => ({ from: a, to: b }));

/** The gaps of a plain array, the slow and certain way. */
function gapsOf(covered: readonly boolean[], length: number): Range[] {
  const gaps: Range[] = [];
  for (let at = 0; at < length; at++) {
    if (covered[at]) continue;
    const last = gaps.at(-1);
    if (last?.to === at) last.to++;
    else gaps.push({ from: at, to: at + 1 });
  }
  return gaps;
}

describe("Coverage", () => {
  test("knows the gaps that a plain array of booleans has", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), fc.nat(SIZE), (ranges, length) => {
        const coverage = new Coverage();
        const covered = new Array<boolean>(SIZE).fill(false);
        for (const { from, to } of ranges) {
          coverage.add(from, to);
          covered.fill(true, from, Math.max(from, to));
          // After every step: a later one may heal what an earlier one broke.
          expect(coverage.gaps(length)).toEqual(gapsOf(covered, length));
          expect(coverage.covers(length)).toBe(gapsOf(covered, length).length === 0);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("is all gap when nothing was added, and covers nothing but a length of 0", () => {
    const coverage = new Coverage();
    expect(coverage.gaps(5)).toEqual([{ from: 0, to: 5 }]);
    expect(coverage.gaps(0)).toEqual([]);
    expect([coverage.covers(0), coverage.covers(1)]).toEqual([true, false]);
  });
});
