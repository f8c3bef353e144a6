/** How points are told apart, and how many whole ones are told in one line. */
import { expect, test } from "bun:test";
import type { PointReport } from "../../../src/engine/verify/points.ts";
import { pointRows } from "../../../src/cli/commands/point_table.ts";

function point(time: string | null, options: Partial<PointReport> = {}): PointReport {
  const size = 10 * 1024 * 1024;
  return {
    ...{ volume: "vm", backup: `id of ${time}`, time, state: "whole", size_bytes: size, chunks: 10 },
    ...{ damaged_chunks: 0, damaged_bytes: 0, ranges: [] },
    ...options,
  };
}

const namesOf = (points: PointReport[]) =>
  pointRows({ project: "acme", points, findings: [] }, "all there").map(([, name]) => name);

test("points are told by the minute, by the second where two share it, and by their ids at last", () => {
  const times = ["2026-11-28T16:32:01.000Z", "2026-11-28T16:33:01.000Z", "2026-11-28T16:33:02.000Z"];
  const twice = ["2026-11-28T16:34:01.001Z", "2026-11-28T16:34:01.002Z", null];
  expect(namesOf([...times, ...twice].map((time) => point(time)))).toEqual([
    ...["2026-11-28 16:32Z", "2026-11-28 16:33:01Z", "2026-11-28 16:33:02Z"],
    ...twice.map((time) => `id of ${time}`),
  ]);
});

test("many whole points of a volume are told in one line, behind each that is not whole", () => {
  const whole = Array.from({ length: 11 }, (_, day) => point(`2026-11-${day + 10}T00:00:00.000Z`));
  const damaged = point("2026-11-30T00:00:00.000Z", { state: "damaged", damaged_chunks: 1 });
  expect(namesOf([...whole, damaged])).toEqual([
    "2026-11-30 00:00Z",
    "11 points, 2026-11-10 00:00Z to 2026-11-20 00:00Z",
  ]);
});
