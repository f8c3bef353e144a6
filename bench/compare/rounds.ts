/** Runs a case: its contenders in turns, round after round, each from the same state. */
import type { Case } from "./cases.ts";
import type { Contender } from "./contenders.ts";
import { type Cost, measure, run } from "../report/measure.ts";
import type { Result } from "../report/table.ts";

/** A run that takes longer is ended, and told as "more than". */
const RUN_LIMIT_S = 180;
/** A contender that has taken this long in a case is not run there again. */
const CONTENDER_LIMIT_S = 45;

export interface RoundsOptions {
  runs: number;
  /** For passing files. */
  scratch: string;
}

export async function runCase(
  { name, contenders, runsMax = Infinity }: Case,
  options: RoundsOptions,
): Promise<Result[]> {
  const results = contenders.map(({ program, kind }): Result => ({ case: name, program, kind, runs: [] }));
  for (let round = 0; round < Math.min(options.runs, runsMax); round++) {
    for (const [i, contender] of contenders.entries()) {
      if (!isWorthARun(results[i]!)) continue;
      await runOnce(contender, { result: results[i]!, scratch: options.scratch });
    }
  }
  return results;
}

function isWorthARun({ runs, moreThanS }: Result): boolean {
  return moreThanS === undefined && runs.reduce((sum, { wallS }) => sum + wallS, 0) < CONTENDER_LIMIT_S;
}

async function runOnce(
  contender: Contender,
  { result, scratch }: { result: Result; scratch: string },
): Promise<void> {
  const { prepare, script, storedBytes, check, clean } = contender;
  await prepare?.();
  const options = contender.options?.() ?? {};
  const storedBefore = await storedBytes?.() ?? 0;
  await settle(contender);
  const cost = await measure(script(), { ...options, limitS: RUN_LIMIT_S, figures: `${scratch}/figures` });
  if (cost === "timed out") result.moreThanS = RUN_LIMIT_S;
  else {
    const storedAfter = await storedBytes?.();
    if (result.runs.length === 0 && check !== undefined) await run(check, options);
    result.runs.push({ ...cost, storedBytes: storedAfter === undefined ? null : storedAfter - storedBefore });
  }
  await clean?.();
  tell(result, cost);
}

/** Nothing is left to be written from what was before, and the page cache holds what it should. */
async function settle({ warm = [], cold = [] }: Contender): Promise<void> {
  const quoted = (paths: string[]) => paths.map((path) => `'${path}'`).join(" ");
  await run("sync");
  if (cold.length > 0) {
    await run(`find ${quoted(cold)} -type f -exec dd if={} iflag=nocache count=0 status=none ';'`);
  }
  if (warm.length > 0) await run(`cat ${quoted(warm)} >/dev/null`);
}

function tell({ case: name, program }: Result, cost: Cost | "timed out"): void {
  const wall = cost === "timed out" ? `more than ${RUN_LIMIT_S} s` : `${cost.wallS.toFixed(2)} s`;
  console.error(`bench: ${name}: ${program}: ${wall}`);
}
