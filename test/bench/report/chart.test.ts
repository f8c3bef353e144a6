/** The picture of the benchmark's table. */
import { expect, test } from "bun:test";
import { chart } from "../../../bench/report/chart.ts";
import { type Result, rowsOf } from "../../../bench/report/table.ts";

function rows(name: string, results: [program: string, kind: Result["kind"], wallS: number][]) {
  return rowsOf(results.map(([program, kind, wallS]) => ({
    case: name,
    program,
    kind,
    runs: [{ wallS, cpuS: 1, peakBytes: 1, storedBytes: null }],
  })));
}

function widths(svg: string): [string, number][] {
  return Array.from(
    svg.matchAll(/<rect class="(\w+)".* width="([\d.]+)"/g),
    ([, kind, width]) => [kind!, Number(width)],
  );
}

test("chart() draws bars in proportion, and of the limits only the slowest", () => {
  const svg = chart(
    rows("full", [["varve", "varve", 2], ["restic", "peer", 8], ["pipe", "limit", 1], ["zstd", "limit", 4]]),
    "a machine",
  );
  const [varve, restic, limit, ...others] = widths(svg);
  expect(others).toEqual([]);
  expect([varve![0], restic![0], limit![0]]).toEqual(["varve", "peer", "limit"]);
  expect(restic![1] / varve![1]).toBeCloseTo(4, 2);
  expect(restic![1] / limit![1]).toBeCloseTo(2, 2);
  expect(svg).not.toContain("limit: pipe");
});

test("chart() leaves a case out when no peer is in it", () => {
  const svg = chart([...rows("alone", [["varve", "varve", 2]]), ...rows("full", [["borg", "peer", 2]])], "");
  expect(svg).not.toContain(">alone<");
  expect(svg).toContain(">full<");
});

test("chart() gives a full bar and its words when a program was ended by the time limit", () => {
  const ended: Result = { case: "full", program: "borg", kind: "peer", runs: [], moreThanS: 180 };
  const svg = chart([...rows("full", [["varve", "varve", 18]]), ...rowsOf([ended])], "");
  const [[, varve], [, borg]] = widths(svg) as [[string, number], [string, number]];
  expect(borg / varve).toBeCloseTo(10, 2);
  expect(svg).toContain(">more than 180 s<");
});

test("chart() escapes what names hold, and colours both kinds of page", () => {
  const svg = chart(rows("a < b & c", [["restic", "peer", 1]]), "<machine>");
  expect(svg).toContain("a &lt; b &amp; c");
  expect(svg).toContain("&lt;machine&gt;");
  expect(svg).toContain("prefers-color-scheme: dark");
});
