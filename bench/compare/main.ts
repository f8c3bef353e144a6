/**
 * The benchmark: varve, its peers and the limits of the machine on the same bytes, in turns, told as one table of
 * medians, as JSON and as a picture. docs/performance.md explains the cases.
 */
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { startBuckets } from "./buckets.ts";
import { casesOf } from "./cases.ts";
import { chart } from "../report/chart.ts";
import { prepareImages } from "./images.ts";
import type { ContendersOptions } from "./contenders.ts";
import { interrupt, InterruptedError, run } from "../report/measure.ts";
import { installedPeers } from "./peers.ts";
import { type Program, varve } from "./programs.ts";
import { runCase } from "./rounds.ts";
import { type Result, type Row, rowsOf, tableText } from "../report/table.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string" },
    only: { type: "string" },
    json: { type: "string" },
    svg: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
const ROOT = new URL("../..", import.meta.url).pathname;
const FOLDER = process.env.VARVE_BENCH_DIR ?? "/var/tmp/varve-bench";
const RUNS = 5;
/** Of the bytes, to see that everything works: its figures mean nothing. */
const QUICK_SHARE = 1 / 8;
const QUICK_RUNS = 1;
const INTERRUPTED = 130;

const varveFile = process.env.VARVE_BIN ?? `${ROOT}dist/varve`;
const scratch = `${FOLDER}/scratch`;
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, interrupt);

try {
  await main();
} catch (error) {
  console.error(`bench: ${(error as Error).message}`);
  process.exitCode = error instanceof InterruptedError ? INTERRUPTED : 1;
}

async function main(): Promise<void> {
  const images = values.quick
    ? await prepareImages(`${FOLDER}/images-quick`, QUICK_SHARE)
    : await prepareImages(`${FOLDER}/images`, 1);
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });
  const buckets = await startBuckets();
  try {
    await report(installedPeers(), { images, scratch, varveFile, buckets });
  } finally {
    await buckets?.stop();
    await rm(scratch, { recursive: true, force: true });
  }
}

async function report(peers: Program[], options: ContendersOptions): Promise<void> {
  const rows = await rowsOfAll(peers, options);
  const programs = await described([varve(varveFile, { sealed: false }), ...peers]);
  const about = await machine();
  const where = `${about.machine}, ${about.date}`;
  console.log(tableText(rows));
  console.log(`\n${where}`);
  for (const { name, version, settings } of programs) console.log(`${name}: ${version}; ${settings}`);
  if (values.quick) console.log(`Quick: on ${QUICK_SHARE} of the bytes. These figures mean nothing.`);
  if (values.json !== undefined) {
    await Bun.write(values.json, JSON.stringify({ ...about, programs, rows }, null, 2) + "\n");
  }
  if (values.svg !== undefined) await Bun.write(values.svg, chart(rows, where));
}

async function rowsOfAll(peers: Program[], options: ContendersOptions): Promise<Row[]> {
  const all = casesOf(options, peers);
  const keys = values.only?.split(",") ?? all.map(({ key }) => key);
  const unknown = keys.filter((key) => !all.some((one) => one.key === key));
  if (unknown.length > 0) {
    throw new Error(`no case "${unknown.join(", ")}"; there are ${all.map(({ key }) => key).join(", ")}`);
  }
  const runs = Number(values.runs ?? (values.quick ? QUICK_RUNS : RUNS));
  const results = new Map<string, Result[]>();
  const rows: Row[] = [];
  for (const one of all.filter(({ key }) => keys.includes(key))) {
    const own = await runCase(one, { runs, scratch });
    results.set(one.key, own);
    const others = results.get(one.peersOf ?? "")?.filter(({ kind }) => kind === "peer") ?? [];
    rows.push(...rowsOf([...own, ...others.map((result) => ({ ...result, case: one.name }))]));
  }
  return rows;
}

async function machine(): Promise<{ machine: string; commit: string; date: string }> {
  const kernel = (await run("uname -sr")).trim();
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
  return {
    machine: `${availableParallelism()} cores of ${cpus()[0]!.model.trim()}, ${memory}, ${kernel}`,
    commit: (await run("git rev-parse HEAD", { cwd: ROOT })).trim(),
    date: new Date().toISOString().slice(0, 10),
  };
}

async function described(
  programs: Program[],
): Promise<{ name: string; version: string; settings: string }[]> {
  const versionOf = async (script: string) => (await run(script)).trim().split("\n")[0]!;
  return await Promise.all(
    programs.map(async ({ name, version, settings }) => ({
      name,
      settings,
      version: await versionOf(version),
    })),
  );
}
