/**
 * Runs seeds of the simulation in a process of its own: behind scripts/simulate, and for the test suite in slices. Ends at
 * the first seed that goes wrong, with its trace.
 */
import { parseArgs } from "node:util";
import { prepareEngine } from "./loader.ts";

const { values } = parseArgs({
  options: {
    /** How many, and the first. */
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    /** Only each so many: those of one theme. */
    every: { type: "string", default: "1" },
    /** Seeds that are played before these, with commas between them. */
    first: { type: "string", default: "" },
    /** A rule of rules.ts that is switched off. */
    break: { type: "string" },
    /** Each step, also of seeds that go well. */
    trace: { type: "boolean", default: false },
  },
});
const [seeds, from, every] = [Number(values.seeds), Number(values.from), Number(values.every)];
// Before the engine is loaded.
const checkEngine = prepareEngine(values.break);
const { simulate } = await import("./simulate.ts");
checkEngine();

const listed = values.first.split(",").filter((seed) => seed !== "").map(Number);
const counted = Array.from({ length: seeds }, (_, i) => from + i * every);
const played = new Set([...listed, ...counted]);

let [steps, lies, operations, failed, reported] = [0, 0, 0, 0, 0];
for (const seed of played) {
  const result = await simulate(seed, values.trace ? console.log : undefined);
  steps += result.steps;
  lies += result.lies;
  operations += result.tally.operations;
  failed += result.tally.failed;
  reported += result.tally.reported;
  if (result.violation === undefined) continue;
  if (!values.trace) await simulate(seed, console.log);
  const rule = values.break === undefined ? "" : ` --break "${values.break}"`;
  console.log(
    `seed ${seed}: ${result.violation}\nreplay: scripts/simulate --from ${seed} --seeds 1${rule} --trace`,
  );
  process.exit(1);
}
console.log(
  `${played.size} seeds from ${from}: nothing wrong in ${steps} steps; ${operations} operations, of which ${failed} gave up; ` +
    `${reported} points reported; ${lies} wrong answers`,
);
