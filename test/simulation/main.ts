/** Runs seeds of the simulation in a process of its own: scripts/simulate, and the test suite in slices. */
import { parseArgs } from "node:util";
import { prepareEngine } from "./loader.ts";
import type { RuleName } from "./rules.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    break: { type: "string" },
    trace: { type: "boolean", default: false },
  },
});

prepareEngine(values.break as RuleName | undefined);
const { simulate } = await import("./simulate.ts");

const from = Number(values.from);
let steps = 0;
for (let seed = from; seed < from + Number(values.seeds); seed++) {
  const result = await simulate(seed, values.trace ? console.log : undefined);
  steps += result.steps;
  if (result.violation === undefined) continue;
  if (!values.trace) await simulate(seed, console.log);
  const rule = values.break === undefined ? "" : ` --break ${values.break}`;
  console.log(
    `seed ${seed}: ${result.violation}\nreplay: scripts/simulate --from ${seed} --seeds 1${rule} --trace`,
  );
  process.exit(1);
}
console.log(`${values.seeds} seeds from ${from}: nothing wrong in ${steps} steps`);
