/** The rows of the benchmark's table: medians, ratios, and what is said where a program was too slow. */
import { describe, expect, test } from "bun:test";
import { median, type Result, type Row, rowsOf, tableText, wallText } from "../../../bench/report/table.ts";

const MIB = 2 ** 20;

function result(program: string, kind: Result["kind"], walls: number[]): Result {
  const runs = walls.map((wallS, i) => ({
    wallS,
    cpuS: wallS / 2,
    peakBytes: (i + 1) * MIB,
    storedBytes: 10 * MIB,
  }));
  return { case: "full", program, kind, runs };
}

function rowOf(rows: Row[], program: string): Row {
  return rows.find((row) => row.program === program)!;
}

describe("rowsOf()", () => {
  test("rowsOf() takes medians of the times and the highest peak when there are several runs", () => {
    const [row] = rowsOf([result("varve", "varve", [4, 1, 2])]);
    expect(row).toMatchObject({ runs: 3, wallS: 2, cpuS: 1, peakBytes: 3 * MIB, storedBytes: 10 * MIB });
  });

  test("rowsOf() compares with the fastest peer when there are several", () => {
    const rows = rowsOf([
      result("varve", "varve", [2]),
      result("slow", "peer", [9]),
      result("fast", "peer", [6]),
    ]);
    expect(rows.map(({ timesBestPeer }) => timesBestPeer)).toEqual([3, 6 / 9, 1]);
  });

  test("rowsOf() compares with the slowest limit when there are several", () => {
    const rows = rowsOf([
      result("varve", "varve", [4]),
      result("pipe", "limit", [1]),
      result("zstd", "limit", [3]),
    ]);
    expect(rows.map(({ shareOfLimit }) => shareOfLimit)).toEqual([0.75, null, null]);
  });

  test("rowsOf() leaves the ratios out when there is nothing to compare with", () => {
    const [row] = rowsOf([result("varve", "varve", [4])]);
    expect(row).toMatchObject({ timesBestPeer: null, shareOfLimit: null });
  });

  test("rowsOf() counts a peer with its time limit when it was ended by that", () => {
    const rows = rowsOf([
      result("varve", "varve", [2]),
      { ...result("slow", "peer", [170]), moreThanS: 180 },
    ]);
    expect(rowOf(rows, "slow")).toMatchObject({
      wallS: null,
      cpuS: null,
      moreThanS: 180,
      timesBestPeer: null,
    });
    expect(rowOf(rows, "varve").timesBestPeer).toBe(90);
  });
});

test("median() takes the mean of the two in the middle when their number is even", () => {
  expect(median([4, 1, 3, 10])).toBe(3.5);
});

test("wallText() says more than when the time limit ended it", () => {
  expect(wallText({ wallS: 1.234, moreThanS: null })).toBe("1.23 s");
  expect(wallText({ wallS: 45.67, moreThanS: null })).toBe("45.7 s");
  expect(wallText({ wallS: null, moreThanS: 180 })).toBe("more than 180 s");
});

test("tableText() names a case once, marks the limits, and keeps its columns in line", () => {
  const lines = tableText(rowsOf([
    result("varve", "varve", [2]),
    result("restic", "peer", [6]),
    result("pipe", "limit", [1]),
  ])).split("\n");
  expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
  const cells = lines.slice(2).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  expect(cells).toEqual([
    ["full", "varve", "1", "2.00 s", "1.00 s", "1.0 MiB", "10 MiB", "3.00 ×", "50 %"],
    ["", "restic", "1", "6.00 s", "3.00 s", "1.0 MiB", "10 MiB", "1.00 ×", "17 %"],
    ["", "limit: pipe", "1", "1.00 s", "0.50 s", "1.0 MiB", "10 MiB", "", ""],
  ]);
});
