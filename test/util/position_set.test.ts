/** A set of positions, against one of the runtime's. */
import { expect, test } from "bun:test";
import { PositionSet } from "../../src/util/position_set.ts";

test("has what was added, once, wherever it lies", () => {
  const set = new PositionSet();
  const expected = new Set<number>();
  for (const [position, count] of [[0, 1], [7, 3], [8, 1], [8190, 20], [1_000_000, 2]] as const) {
    set.add(position, count);
    for (let at = position; at < position + count; at++) expected.add(at);
  }
  expect(set.size).toBe(expected.size);
  for (let at = 0; at < 1_000_100; at++) {
    if (set.has(at) !== expected.has(at)) throw new Error(`position ${at}`);
  }
});
