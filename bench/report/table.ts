/** From what single runs cost to the rows of the table: medians and ratios. Pure. */
import type { Cost } from "./measure.ts";

/** What one contender's runs in one case were. */
export interface Result {
  case: string;
  program: string;
  kind: "varve" | "peer" | "limit";
  /** By how much the repository grew in each run is `storedBytes`. */
  runs: (Cost & { storedBytes: number | null })[];
  /** The time limit, where a run was ended by it. */
  moreThanS?: number | undefined;
}

export interface Row {
  case: string;
  program: string;
  kind: Result["kind"];
  runs: number;
  /** Medians. Null where a run was ended by the time limit. */
  wallS: number | null;
  cpuS: number | null;
  storedBytes: number | null;
  /** The highest of all runs. */
  peakBytes: number | null;
  moreThanS: number | null;
  /** Wall time of the fastest peer by that of this row: how many times as fast this one is. */
  timesBestPeer: number | null;
  /** Wall time of the slowest limit by that of this row: 1 where nothing else could be faster. */
  shareOfLimit: number | null;
}

/** `results` of one case, and of the peers that it is compared with. */
export function rowsOf(results: Result[]): Row[] {
  const rows = results.map(rowOf);
  const peer = fastest(rows.filter(({ kind }) => kind === "peer"));
  const limits = rows.filter(({ kind }) => kind === "limit");
  const limit = limits.length === 0 ? null : Math.max(...limits.map(secondsOf));
  return rows.map((row) => {
    if (row.kind === "limit" || row.wallS === null) return row;
    const timesBestPeer = peer === null ? null : peer / row.wallS;
    return { ...row, timesBestPeer, shareOfLimit: limit === null ? null : limit / row.wallS };
  });
}

function rowOf({ case: name, program, kind, runs, moreThanS }: Result): Row {
  const middle = (values: number[]) => moreThanS === undefined ? median(values) : null;
  const stored = runs.flatMap(({ storedBytes }) => storedBytes ?? []);
  return {
    case: name,
    program,
    kind,
    runs: runs.length,
    wallS: middle(runs.map(({ wallS }) => wallS)),
    cpuS: middle(runs.map(({ cpuS }) => cpuS)),
    storedBytes: stored.length === 0 ? null : middle(stored),
    peakBytes: moreThanS === undefined ? Math.max(...runs.map(({ peakBytes }) => peakBytes)) : null,
    moreThanS: moreThanS ?? null,
    timesBestPeer: null,
    shareOfLimit: null,
  };
}

function fastest(peers: Row[]): number | null {
  return peers.length === 0 ? null : Math.min(...peers.map(secondsOf));
}

/** A program that was ended counts with its time limit: it took at least that. */
export function secondsOf({ wallS, moreThanS }: Row): number {
  return wallS ?? moreThanS!;
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A wall time for people: "12.3 s", or "more than 180 s". */
export function wallText({ wallS, moreThanS }: Pick<Row, "wallS" | "moreThanS">): string {
  return wallS === null ? `more than ${moreThanS} s` : `${wallS.toFixed(wallS < 10 ? 2 : 1)} s`;
}

const HEAD = ["case", "program", "runs", "wall", "CPU", "peak", "stored", "by best peer", "of the limit"];

/** The table as Markdown that also reads well as it is. */
export function tableText(rows: Row[]): string {
  const cells = rows.map((row, i) => [
    rows[i - 1]?.case === row.case ? "" : row.case,
    row.kind === "limit" ? `limit: ${row.program}` : row.program,
    String(row.runs),
    wallText(row),
    text(row.cpuS, (s) => `${s.toFixed(2)} s`),
    text(row.peakBytes, mib),
    text(row.storedBytes, mib),
    text(row.timesBestPeer, (times) => `${times.toFixed(2)} ×`),
    text(row.shareOfLimit, (share) => `${(share * 100).toFixed(0)} %`),
  ]);
  const widths = HEAD.map((head, i) => Math.max(head.length, ...cells.map((row) => row[i]!.length)));
  const line = (row: string[]) =>
    `| ${row.map((cell, i) => pad(cell, { i, width: widths[i]! })).join(" | ")} |`;
  const rule = widths.map((width, i) => i < 2 ? "-".repeat(width) : "-".repeat(width - 1) + ":");
  return [line(HEAD), `| ${rule.join(" | ")} |`, ...cells.map(line)].join("\n");
}

function text(value: number | null, write: (value: number) => string): string {
  return value === null ? "" : write(value);
}

function mib(bytes: number): string {
  const mib = bytes / 2 ** 20;
  return `${mib.toFixed(mib < 10 ? 1 : 0)} MiB`;
}

function pad(cell: string, { i, width }: { i: number; width: number }): string {
  return i < 2 ? cell.padEnd(width) : cell.padStart(width);
}
