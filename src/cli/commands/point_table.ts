/** Restore points and whether they are whole, for people. */
import type { Finding } from "../../engine/verify/findings.ts";
import type { PointReport } from "../../engine/verify/points.ts";
import { printTable } from "../terminal/output.ts";
import { distinctTimes } from "../terminal/point_times.ts";
import { formatSize } from "../terminal/units.ts";

/** Whole points of a volume that get a line each; more are told in one. */
const MAX_WHOLE = 10;

interface ShownPoints {
  project: string;
  points: readonly PointReport[];
  findings: readonly Finding[];
}

/** A line for each point, by volume; `there` is how one is called that is there and was not read as a whole. */
export function printPointTable(projects: readonly ShownPoints[], there: string): void {
  const rows = projects.flatMap((shown) => pointRows(shown, there));
  printTable(["VOLUME", "POINT", "STATE"], rows);
}

/** Volume, point and state of each line. */
export function pointRows({ project, points, findings }: ShownPoints, there: string): string[][] {
  const rows: string[][] = [];
  for (const [volume, of] of Map.groupBy(points, ({ volume }) => volume)) {
    const name = `${project}/${volume}`;
    const isGood = ({ state }: PointReport) => state === "whole" || state === "there";
    const good = of.filter(isGood);
    const nameOf = pointNames(of);
    for (const point of of) {
      if (!isGood(point)) rows.push([name, nameOf(point), badState(point, findings)]);
      else if (good.length <= MAX_WHOLE) rows.push([name, nameOf(point), goodState(point, there)]);
    }
    if (good.length > MAX_WHOLE) {
      const which = `${good.length} points, ${nameOf(good[0]!)} to ${nameOf(good.at(-1)!)}`;
      rows.push([name, which, goodState(good[0]!, there)]);
    }
  }
  return rows;
}

/** By its time, or its id where no time is known or two points have the same. */
function pointNames(points: readonly PointReport[]): (point: PointReport) => string {
  const nameOf = distinctTimes(points.map(({ time }) => time).filter((time) => time !== null));
  return ({ time, backup }) => (time === null ? undefined : nameOf(time)) ?? backup;
}

function goodState({ state }: PointReport, there: string): string {
  return state === "whole" ? "whole" : there;
}

function badState(point: PointReport, findings: readonly Finding[]): string {
  const kinds = new Set(
    findings.filter(({ places }) => places.some((place) => isOf(point, place))).map(({ kind }) => kind),
  );
  const what = kinds.size === 1 ? KINDS[[...kinds][0]!] : "missing or damaged";
  if (point.state === "unreadable") return `UNREADABLE  its manifest is ${what}`;
  const { damaged_chunks, chunks, damaged_bytes, size_bytes, ranges } = point;
  const size = `${formatSize(damaged_bytes ?? 0)} of ${formatSize(size_bytes ?? 0)}`;
  const first = formatSize(ranges[0]?.offset ?? 0);
  return `DAMAGED  ${damaged_chunks} of ${chunks} chunks ${what} (${size}), first at ${first}`;
}

const KINDS = { missing: "missing", damaged: "damaged", unavailable: "not given by the store" } as const;

function isOf({ volume, backup }: PointReport, place: { volume: string; backup: string }): boolean {
  return place.volume === volume && place.backup === backup;
}
