/**
 * The benchmark: every case runs varve and the other programs on the same bytes, in turns within each round, and is told
 * as medians with the ratio to the best peer and to what the machine can do. docs/performance.md explains the cases.
 */
import { mkdir, rm } from "node:fs/promises";
import { parseArgs } from "node:util";
import { type Case, cases } from "./cases.ts";
import { prepareImages } from "./images.ts";
import { type Cost, median } from "./measure.ts";

const { values } = parseArgs({
  options: { runs: { type: "string", default: "3" }, only: { type: "string" }, json: { type: "string" } },
});
const FOLDER = process.env.VARVE_BENCH_DIR ?? "/var/tmp/varve-bench";

interface Row {
  case: string;
  program: string;
  wallS: number;
  cpuS: number;
  peakMib: number;
  storedMib: number | null;
  /** Wall time of this program by that of varve: how many times as fast varve is. */
  varveIsFaster: number;
}

const images = await prepareImages(`${FOLDER}/images`);
const scratch = `${FOLDER}/scratch`;
const rows: Row[] = [];
for (const one of cases({ images, scratch })) {
  if (values.only !== undefined && !values.only.split(",").includes(one.name)) continue;
  rows.push(...await runCase(one));
}
print(rows);
if (values.json !== undefined) {
  await Bun.write(values.json, JSON.stringify({ machine: machine(), rows }, null, 2) + "\n");
}

async function runCase(one: Case): Promise<Row[]> {
  const costs = new Map<string, (Cost & { storedBytes: number | null })[]>();
  for (let round = 0; round < Number(values.runs); round++) {
    for (const contender of one.contenders) {
      await rm(scratch, { recursive: true, force: true });
      await mkdir(scratch, { recursive: true });
      await contender.prepare?.();
      const cost = await contender.run();
      const storedBytes = await contender.storedBytes?.() ?? null;
      costs.set(contender.program, [...costs.get(contender.program) ?? [], { ...cost, storedBytes }]);
      console.error(`bench: ${one.name}: ${contender.program}: ${cost.wallS.toFixed(2)} s`);
    }
  }
  await rm(scratch, { recursive: true, force: true });
  const wall = (program: string) => median(costs.get(program)!.map(({ wallS }) => wallS));
  return [...costs].map(([program, all]) => ({
    case: one.name,
    program,
    wallS: wall(program),
    cpuS: median(all.map(({ cpuS }) => cpuS)),
    peakMib: Math.max(...all.map(({ peakBytes }) => peakBytes)) / 2 ** 20,
    storedMib: all[0]!.storedBytes === null ? null : all[0]!.storedBytes / 2 ** 20,
    varveIsFaster: wall(program) / wall([...costs.keys()][0]!),
  }));
}

function print(rows: Row[]): void {
  const cells = rows.map((row) => [
    row.case,
    row.program,
    row.wallS.toFixed(2),
    row.cpuS.toFixed(2),
    row.peakMib.toFixed(0),
    row.storedMib?.toFixed(0) ?? "",
    `${row.varveIsFaster.toFixed(2)} x`,
  ]);
  const head = ["case", "program", "wall s", "cpu s", "peak MiB", "stored MiB", "varve is"];
  const widths = head.map((text, i) => Math.max(text.length, ...cells.map((row) => row[i]!.length)));
  for (const row of [head, ...cells]) {
    console.log(row.map((text, i) => text.padEnd(widths[i]!)).join("  ").trimEnd());
  }
}

function machine(): Record<string, string> {
  const run = (...argv: string[]) => Bun.spawnSync(argv).stdout.toString().trim();
  return {
    commit: run("git", "rev-parse", "HEAD"),
    cores: run("nproc"),
    kernel: run("uname", "-sr"),
    date: new Date().toISOString(),
  };
}
