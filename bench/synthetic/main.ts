/**
 * What work on a whole project costs where the project is large: time, memory and requests, on stores in memory whose
 * chunks have no content. Prints one table.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../report/measure.ts";
import type { Figures } from "./cases.ts";

const SIZES = [300_000, 3_000_000];
const BY_SIZE = ["gc --dry-run", "gc", "verify --exists"];
const BY_REQUESTS = [
  "unchanged backup, cold",
  "unchanged backup, warm",
  "first backup",
  "list, cold",
  "list, warm",
];
const HEAD = [
  "case",
  "chunks",
  "wall s",
  "cpu s",
  "MiB before",
  "MiB peak",
  "get",
  "put",
  "head",
  "list",
  "delete",
  "",
];

const rows = [HEAD];
for (const name of BY_SIZE) for (const size of SIZES) rows.push(await rowOf(name, size));
for (const name of BY_REQUESTS) rows.push(await rowOf(name));
const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
for (const row of rows) console.log(row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd());

async function rowOf(name: string, size?: number): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "varve-synthetic-"));
  try {
    const script = join(import.meta.dirname, "cases.ts");
    const answer = await run(`'${process.execPath}' '${script}' '${name}' '${folder}' ${size ?? 0}`);
    const { wallS, cpuS, storeMib, peakMib, requests, note } = JSON.parse(answer) as Figures;
    const { get, put, head, list, delete: deletes } = requests;
    const numbers = [storeMib, peakMib, get, put, head, list, deletes].map((value) => value.toFixed(0));
    return [
      name,
      size === undefined ? "" : String(size),
      wallS.toFixed(2),
      cpuS.toFixed(2),
      ...numbers,
      note,
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
