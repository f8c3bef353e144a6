/** Merging adjacent ranges and counting those that are too many. */
import { expect, test } from "bun:test";
import { ByteRanges } from "../../src/util/byte_ranges.ts";

test("makes one of adjacent ranges", () => {
  const ranges = new ByteRanges();
  for (const [offset, length] of [[4, 4], [8, 4], [16, 4], [20, 1]] as const) ranges.add(offset, length);
  expect(ranges).toMatchObject({
    told: [{ offset: 4, length: 8 }, { offset: 16, length: 5 }],
    more: 0,
    bytes: 13,
  });
});

test("tells the first 1,000, and counts the others as if they were told", () => {
  const ranges = new ByteRanges();
  for (let at = 0; at < 1002; at++) {
    ranges.add(at * 10, 2);
    ranges.add(at * 10 + 2, 3);
  }
  expect(ranges.told.length).toBe(1000);
  expect(ranges.told.at(-1)).toEqual({ offset: 9990, length: 5 });
  expect(ranges).toMatchObject({ more: 2, bytes: 1002 * 5 });
});
