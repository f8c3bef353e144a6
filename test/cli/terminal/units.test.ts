import { expect, test } from "bun:test";
import { formatAge, formatDuration, formatSize, parseSize } from "../../../src/cli/terminal/units.ts";

test("parseSize() reads powers of 1024 when there is a unit", () => {
  const sizes = ["4194304", "4M", "4m", "4MB", "4MiB", "4 MiB", "0.5K", "1GiB", "2T", "1P", "7B", "0"].map(
    parseSize,
  );
  const mib = 1 << 20;
  expect(sizes).toEqual([
    4 * mib,
    4 * mib,
    4 * mib,
    4 * mib,
    4 * mib,
    4 * mib,
    512,
    1024 * mib,
    2 * 2 ** 40,
    2 ** 50,
    7,
    0,
  ]);
});

test("parseSize() returns undefined when it is no size", () => {
  for (const text of ["", "M", "-1", "4X", "4MM", "1e3", "0x10", "4M 4M", "0.3", "999999P"]) {
    expect([text, parseSize(text)]).toEqual([text, undefined]);
  }
});

test("formatSize() keeps three digits when the size grows", () => {
  const texts = [0, 999, 1000, 1024, 1536, 10 * 1024, 999 * 1024, 1000 * 1024, 4 << 20, 5 * 2 ** 30, 2 ** 62]
    .map(formatSize);
  expect(texts).toEqual([
    ...["0 B", "999 B", "0.98 KiB", "1.00 KiB", "1.50 KiB", "10.0 KiB", "999 KiB", "0.98 MiB", "4.00 MiB"],
    ...["5.00 GiB", "4096 PiB"],
  ]);
});

test("formatDuration() shows hours only when there are some", () => {
  expect([0, 7.4, 59.6, 750, 3599, 3600, 10 * 3600 + 61].map(formatDuration)).toEqual([
    ...["0:00", "0:07", "1:00", "12:30", "59:59", "1:00:00", "10:01:01"],
  ]);
});

test("formatAge() has one unit, which grows with the age", () => {
  const [minute, hour, day] = [60, 3600, 86_400];
  const ages = [
    -30,
    0,
    59,
    minute,
    59 * minute,
    hour,
    47 * hour,
    2 * day,
    99 * day,
    100 * day,
    729 * day,
    730 * day,
  ];
  expect(ages.map(formatAge)).toEqual([
    ...["0s", "0s", "59s", "1m", "59m", "1h", "47h", "2d", "99d", "14w", "104w", "2y"],
  ]);
  expect(formatAge(-2 * minute)).toBe("future");
});
