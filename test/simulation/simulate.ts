/** One run of the simulation: what a seed makes hosts do, then quiet, then nothing may be left over. */
import { createProject } from "../../src/project/open_project.ts";
import { encodeCheckedJson } from "../../src/format/checked_json.ts";
import { REPOSITORY_KEY } from "../../src/format/layout.ts";
import { random } from "../kit/random.ts";
import { CHUNK_BYTES, newVolume } from "./content.ts";
import { Liar } from "./lies.ts";
import { copyOfFiles, putBackFiles } from "./host_files.ts";
import { Objects } from "./objects.ts";
import { newProcess, type Operation, runOperation, VOLUMES, type World } from "./operations.ts";
import { Oracle, PROJECT } from "./oracle.ts";
import { putBack } from "./put_back.ts";
import { withRandomBytes } from "./randomness.ts";
import { DAY_MS, HOUR_MS, Process, type Random, Scheduler } from "./scheduler.ts";
import { SimulatedStore } from "./simulated_store.ts";
import { CALM, calmly, finish, QUIET, type Theme, THEMES } from "./themes.ts";

/** What a host does in one round. */
const ROUNDS: readonly (readonly Operation[])[] = [
  ["backup"],
  ["backup"],
  ["backup", "backup"],
  ["restore"],
  ["verify"],
  ["gc"],
  ["gc", "gc"],
  ["forget", "gc"],
  ["forget", "gc", "gc"],
  ["forget", "gc", "backup"],
  ["gc", "backup"],
  ["hold"],
  ["hold", "backup"],
  ["repair"],
  ["repair", "gc"],
];
const SHORT_PAUSES_MS = [0, 0, 0, 60_000];
const LONG_PAUSES_MS = [0, 0, 60_000, HOUR_MS, DAY_MS / 2, DAY_MS, 2 * DAY_MS];
/** Contents that volumes have again and again, at most. */
const CONTENTS = 2;
/**
 * The first buries what is dead and ends or sweeps what was left, the next remove the plans that are over, and then what
 * these spared is condemned and swept.
 */
const QUIET_GCS: Operation[] = Array(6).fill("gc");
const QUIET_GCS_THERE: Operation[] = Array(6).fill("gc there");
/** After this a plan that was ended is removed. */
const QUIET_GAP_MS = 9 * DAY_MS;
const AT_ONCE = [0];
/** What a store may be wrong about again and again. */
const LIES_ABOUT = [/\/volumes\/$/, /\/volumes\/./, /\/leases\//, /\/gc\/$/, /\/holds\//, /\/chunks\//];
const GRACES = [0, 0, 0, DAY_MS];
/** Makes the project, so that all seeds have the same ids. */
const PROJECT_SEED = 1;

export interface RunResult {
  /** What went wrong. */
  violation: string | undefined;
  steps: number;
  /** Answers of the store that were wrong. */
  lies: number;
  tally: World["tally"];
}

/** Runs the seed; `trace` is told each step. */
export async function simulate(seed: number, trace?: (line: string) => void): Promise<RunResult> {
  const next = random(seed);
  const liesBefore = Liar.told;
  const scheduler = new Scheduler(next, { chances: CALM, trace });
  const world = await makeWorld({ scheduler, objects: new Objects() });
  putBackFiles(new Map());
  const theme = THEMES[seed % THEMES.length]!;
  const failure = await live(world, { theme, next }).then(() => undefined, (error: unknown) => error);
  const violation = world.oracle.violation ?? failure;
  return {
    violation: violation instanceof Error ? violation.message : undefined,
    steps: scheduler.steps,
    lies: Liar.told - liesBefore,
    tally: world.tally,
  };
}

async function makeWorld({ scheduler, objects }: Pick<World, "scheduler" | "objects">): Promise<World> {
  const oracle = new Oracle(objects);
  objects.watcher = oracle;
  const process = new Process("setup", { clockOffsetMs: 0, seed: PROJECT_SEED });
  const store = new SimulatedStore({ scheduler, objects, process, faults: () => QUIET });
  const context = {
    signal: process.stop.signal,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    clock: { now: () => scheduler.nowMs, sleep: () => Promise.reject(new Error("nothing sleeps here")) },
    host: "host",
    threads: 1,
  };
  const repository = { id: "5e".repeat(16), store, chunkBytes: CHUNK_BYTES };
  const opened = withRandomBytes(
    (count) => process.randomBytes(count),
    () => createProject(repository, { name: PROJECT, secret: undefined }, context),
  );
  await scheduler.run();
  await opened;
  const secondObjects = new Objects();
  // Whoever copies goes where somebody has made a repository.
  const made = encodeCheckedJson({ repository: "5e".repeat(16), chunk_bytes: CHUNK_BYTES });
  secondObjects.put(REPOSITORY_KEY, { bytes: made, modifiedMs: scheduler.nowMs });
  const second = { objects: secondObjects, oracle: new Oracle(secondObjects, oracle) };
  secondObjects.watcher = second.oracle;
  return {
    scheduler,
    objects,
    oracle,
    second,
    faults: QUIET,
    volumes: [],
    volumesUsed: 1,
    graces: AT_ONCE,
    sharesCache: false,
    errs: false,
    force: true,
    tally: { operations: 0, failed: 0, reported: 0 },
    snapshots: 0,
  };
}

/** The life that the seed chooses, and the quiet after it. */
async function live(world: World, { theme, next }: { theme: Theme; next: Random }): Promise<void> {
  const { scheduler, oracle, second } = world;
  world.errs = next(3) === 0 || theme.errs === true || theme.liesAbout !== undefined;
  oracle.isLenient = second.oracle.isLenient = world.errs;
  const contents = 1 + next(CONTENTS);
  for (let i = 0; i < contents; i++) world.volumes.push(newVolume(next));
  world.volumesUsed = 1 + next(VOLUMES.length);
  world.sharesCache = next(4) === 0;
  world.graces = GRACES;
  await theme.prepare(world, next);
  const pausesMs = chooseTroubles(world, { theme, next });
  for (let round = 1, rounds = 1 + next(2); round <= rounds; round++) {
    const operations = round === 1 && theme.duel !== undefined ? theme.duel : anything(next);
    operations.forEach((operations, host) =>
      liveOn(world, { name: `h${host}.${round}`, operations, pausesMs })
    );
    await finish(world);
    scheduler.nowMs += [0, HOUR_MS, 2 * DAY_MS][next(3)]!;
  }
  world.graces = AT_ONCE;
  world.force = true;
  world.objects.hidden = undefined;
  await endTroubles(world);
  if (oracle.isErasing) await eraseAndBeginAnew(world);
  await calmly(world, { operations: QUIET_GCS, gapMs: QUIET_GAP_MS });
  if (oracle.violation === undefined) oracle.checkQuiet();
  if (!second.oracle.hasProject) return;
  await calmly(world, { operations: QUIET_GCS_THERE, gapMs: QUIET_GAP_MS });
  if (oracle.violation === undefined) second.oracle.checkQuiet();
}

/** Once the store tells the truth again, what was reported is there; what nobody heard of and is broken can be forgotten. */
async function endTroubles(world: World): Promise<void> {
  if (!world.errs || world.oracle.isErasing) return;
  world.oracle.checkReported();
  for (const site of [world, world.second]) {
    for (const key of site.oracle.broken) {
      site.oracle.forgets(key);
      site.objects.delete(key, world.scheduler.nowMs);
    }
  }
  await calmly(world, { operations: ["repair", "verify", "restore", "restore"], gapMs: DAY_MS });
}

/** Whatever an erasure has met is over: the next one leaves nothing, and the project can be made anew. */
async function eraseAndBeginAnew(world: World): Promise<void> {
  // A store that errs may have told a backup that the key was still there: of an erased project nothing is lost by that.
  if (!world.errs) world.oracle.checkErased();
  await calmly(world, { operations: ["erase"], gapMs: DAY_MS });
  world.oracle.checkEmpty();
  await calmly(world, { operations: ["backup", "backup", "restore", "verify", "forget"], gapMs: HOUR_MS });
}

/** How much goes wrong, and how often who goes on changes; the pauses between a host's operations. */
function chooseTroubles(world: World, { theme, next }: { theme: Theme; next: Random }): readonly number[] {
  const hasStalls = next(2) === 0;
  const hasFaults = next(2) === 0;
  world.scheduler.chances = {
    order: next(4) === 0 ? "random" : "priorities",
    change: [30, 100, 300][next(3)]!,
    crash: [0, 0, 30][next(3)]!,
    interrupt: [0, 0, 20][next(3)]!,
    stall: hasStalls ? [50, 200][next(2)]! : 0,
  };
  world.faults = {
    faulty: hasFaults ? [100, 500][next(2)]! : 0,
    slow: hasFaults ? [0, 30, 200][next(3)]! : 0,
    pageKeys: 1 + next(4),
  };
  if (world.errs) letStoreErr(world, { theme, next });
  return hasStalls ? LONG_PAUSES_MS : SHORT_PAUSES_MS;
}

/** Manifests, or all of them and what is known of them, as on a disk that was not mounted. */
function hideSometimes({ scheduler, objects }: World, next: Random): void {
  const beginMs = next(2) * DAY_MS / 2 + next(HOUR_MS);
  scheduler.later(beginMs, () => {
    scheduler.note(undefined, "the store shows no manifest any more");
    objects.hidden = /\/volumes\//;
  });
  scheduler.later(beginMs + [HOUR_MS, DAY_MS, 3 * DAY_MS][next(3)]!, () => {
    scheduler.note(undefined, "the store shows the manifests again");
    objects.hidden = undefined;
  });
}

/** One answer in so many is wrong, and now and then the store is put back to what it was some time ago. */
function letStoreErr(world: World, { theme, next }: { theme: Theme; next: Random }): void {
  world.faults.lies = [30, 100, 300][next(3)]!;
  const { liesAbout = LIES_ABOUT } = theme;
  if (theme.liesAbout !== undefined || next(2) === 0) {
    world.faults.liesAbout = liesAbout[next(liesAbout.length)]!;
    world.faults.lies = 2500;
    world.faults.denies = next(2) === 0;
  }
  // Where nobody insists, the store may lose sight of points for a while.
  world.force = next(3) > 0;
  if (!world.force) hideSometimes(world, next);
  if (next(3) === 0) world.scheduler.later(next(2) * DAY_MS + next(HOUR_MS), () => putBack(world, next));
  if (next(3) === 0) putBackCaches(world, next);
}

/** As when hosts are put back to a copy of their disks: to now, once some time has passed. */
function putBackCaches({ scheduler }: World, next: Random): void {
  const copy = copyOfFiles();
  scheduler.later(next(2) * DAY_MS + next(HOUR_MS), () => {
    scheduler.note(undefined, "the hosts' caches are put back");
    putBackFiles(copy);
  });
}

function anything(next: Random): readonly (readonly Operation[])[] {
  return Array.from({ length: 2 + next(3) }, () => ROUNDS[next(ROUNDS.length)]!);
}

interface Life {
  name: string;
  operations: readonly Operation[];
  pausesMs: readonly number[];
}

/** The operations of one host, one after the other, each in a process of its own. */
function liveOn(world: World, { name, operations, pausesMs }: Life): void {
  const { scheduler } = world;
  const clockOffsetMs = (scheduler.random(9) - 4) * 100 * DAY_MS;
  const goOn = (count: number) => {
    const operation = operations[count];
    if (operation === undefined) return;
    scheduler.later(pausesMs[scheduler.random(pausesMs.length)]!, () => {
      const process = newProcess(world, `${name}.${count}`, clockOffsetMs);
      void runOperation(world, operation, process).then(() => goOn(count + 1));
    });
  };
  goOn(0);
}
