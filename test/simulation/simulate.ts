/** One run of the simulation: what a seed makes hosts do, then quiet, then nothing may be left over. */
import { openProject } from "../../src/engine/project.ts";
import { random } from "../helpers/random.ts";
import { CHUNK_BYTES } from "./content.ts";
import { Objects } from "./objects.ts";
import { type Operation, runOperation, SECRET, type World } from "./operations.ts";
import { Oracle, PROJECT } from "./oracle.ts";
import { seedRandomBytes } from "./randomness.ts";
import { type Chances, DAY_MS, HOUR_MS, Process, type Random, Scheduler } from "./scheduler.ts";
import { type Faults, SimulatedStore } from "./simulated_store.ts";

const MIX: Operation[] = [
  "backup",
  "backup",
  "backup",
  "backup",
  "gc",
  "gc",
  "gc",
  "forget",
  "forget",
  "restore",
];
const PAUSES_MS = [0, 0, 0, 60_000, 30 * 60_000, HOUR_MS, DAY_MS / 2, 2 * DAY_MS];
const QUIET = { faulty: 0, slow: 0, pageKeys: 1000 } satisfies Faults;
const CALM: Chances = { switchPercent: 10, crash: 0, stall: 0 };
/** The first buries what is dead and plans, the second sweeps what the first had to leave; a third must find nothing. */
const QUIET_GCS = 3;
/** Makes the project, so that all seeds have the same ids. */
const PROJECT_SEED = 1;

export interface RunResult {
  /** What went wrong. */
  violation: string | undefined;
  steps: number;
}

/** Runs the seed; `trace` is told each step. */
export async function simulate(seed: number, trace?: (line: string) => void): Promise<RunResult> {
  const next = random(seed);
  const scheduler = new Scheduler(next, { chances: CALM, trace });
  const objects = new Objects();
  const world = await makeWorld({ scheduler, objects });
  seedRandomBytes(seed + 0x10000);
  const failure = await live(world, next).then(() => undefined, (error: unknown) => error);
  const violation = world.oracle.violation ?? failure;
  return { violation: violation instanceof Error ? violation.message : undefined, steps: scheduler.steps };
}

async function makeWorld({ scheduler, objects }: Pick<World, "scheduler" | "objects">): Promise<World> {
  seedRandomBytes(PROJECT_SEED);
  const process = new Process("setup", 0);
  const store = new SimulatedStore({ scheduler, objects, process, faults: () => QUIET });
  const context = {
    signal: process.stop.signal,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    clock: { now: () => scheduler.nowMs, sleep: () => Promise.reject(new Error("nothing sleeps here")) },
    threads: 1,
  };
  const repository = { id: "simulated", store, chunkBytes: CHUNK_BYTES };
  const opened = openProject(repository, { name: PROJECT, secret: SECRET, create: true }, context);
  await scheduler.run();
  const oracle = new Oracle(objects, (await opened).firstKey);
  objects.watcher = oracle;
  return { scheduler, objects, oracle, faults: QUIET, snapshots: 0 };
}

/** The life that the seed chooses, and the quiet after it. */
async function live(world: World, next: Random): Promise<void> {
  const { scheduler, oracle } = world;
  scheduler.chances = {
    switchPercent: [2, 10, 40][next(3)]!,
    crash: [0, 5, 30][next(3)]!,
    stall: [0, 5, 40][next(3)]!,
  };
  world.faults = {
    faulty: [0, 0, 50, 300][next(4)]!,
    slow: [0, 0, 10, 100][next(4)]!,
    pageKeys: 1 + next(4),
  };
  const hosts = 2 + next(3);
  for (let host = 1; host <= hosts; host++) liveOn(world, { name: `h${host}`, operations: 3 + next(5) });
  await finish(world);
  scheduler.chances = CALM;
  world.faults = QUIET;
  for (let i = 0; i < QUIET_GCS; i++) {
    scheduler.nowMs += 2 * DAY_MS;
    const process = new Process(`quiet${i}`, 0);
    void runOperation(world, "gc", process);
    await finish(world);
  }
  if (oracle.violation === undefined) oracle.checkQuiet();
}

async function finish({ scheduler, oracle }: World): Promise<void> {
  await scheduler.run(() => oracle.violation !== undefined);
}

/** The operations of one host, one after the other, each in a process of its own. */
function liveOn(world: World, { name, operations }: { name: string; operations: number }): void {
  const { scheduler } = world;
  const clockOffsetMs = (scheduler.random(9) - 4) * 100 * DAY_MS;
  const goOn = (count: number) => {
    if (count === operations) return;
    scheduler.later(PAUSES_MS[scheduler.random(PAUSES_MS.length)]!, () => {
      const process = new Process(`${name}.${count}`, clockOffsetMs);
      const operation = MIX[scheduler.random(MIX.length)]!;
      void runOperation(world, operation, process).then(() => goOn(count + 1));
    });
  };
  goOn(0);
}
