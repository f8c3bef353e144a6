/**
 * Backups, restores, forgetting and gc on many hosts, in the order of hundreds of seeds: nothing that is needed is ever
 * deleted, and in the end nothing else is left. Switching off a rule of docs/gc.md is noticed.
 */
import { describe, expect, test } from "bun:test";
import { BROKEN_RULES, NOTICED_BY } from "./rules.ts";

/** `scripts/test --full` plays more. */
const SEEDS = Number(process.env.VARVE_SEEDS ?? 200);
/** Seeds that are searched for one that notices a missing rule, if the known one no longer does. */
const SEARCHED_SEEDS = 2000;
/** Processes at once. */
const SLICES = 2;
/** Only one that hangs gets there. */
const LIMIT_MS = 900_000;

async function simulation(...args: string[]): Promise<{ code: number; output: string }> {
  const command = [process.execPath, `${import.meta.dir}/main.ts`, ...args];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  const output = await new Response(child.stdout).text();
  return { code: await child.exited, output };
}

/** The seed that went wrong, if one did. */
function failedSeed(output: string): number | undefined {
  const seed = /^seed (\d+): /m.exec(output)?.[1];
  return seed === undefined ? undefined : Number(seed);
}

describe("simulation", () => {
  test("of every seed loses nothing and leaves nothing behind", async () => {
    const size = Math.ceil(SEEDS / SLICES);
    // Seeds at which a missing rule shows come close to what can go wrong: they are played first.
    const known = Object.values(NOTICED_BY);
    const slices = Array.from({ length: SLICES }, (_, i) => {
      const first = known.filter((_, at) => at % SLICES === i).join();
      return simulation("--seeds", String(size), "--from", String(1 + i * size), "--first", first);
    });
    for (const { code, output } of await Promise.all(slices)) {
      if (code !== 0) console.log(output);
      expect({ code, seed: failedSeed(output) }).toEqual({ code: 0, seed: undefined });
    }
  }, LIMIT_MS);

  test("of the same seed takes the same steps again, of another seed others", async () => {
    const [first, again, other] = await Promise.all(
      ["7", "7", "8"].map((seed) => simulation("--seeds", "1", "--from", seed, "--trace")),
    );
    expect(first!.output.split("\n").length).toBeGreaterThan(100);
    expect(again!.output).toBe(first!.output);
    expect(other!.output).not.toBe(first!.output);
  }, LIMIT_MS);
});

describe("simulation without one rule", () => {
  test.each(Object.keys(BROKEN_RULES))("finds a seed that goes wrong: %s", async (rule) => {
    const search = async (from: number, seeds: number) => {
      const { output } = await simulation("--seeds", String(seeds), "--from", String(from), "--break", rule);
      return failedSeed(output);
    };
    const likely = NOTICED_BY[rule];
    const found = likely === undefined ? undefined : await search(likely, 1);
    const seed = found ?? await search(1, SEARCHED_SEEDS);
    console.log(`seed ${seed ?? "none"} notices that this does not hold: ${rule}`);
    expect(seed).toBeGreaterThan(0);
  }, LIMIT_MS);
});
