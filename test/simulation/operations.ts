/** What processes do: the engine's use cases, and what may come of them. */
import { backup } from "../../src/engine/backup/backup.ts";
import { createProject } from "../../src/project/open_project.ts";
import { copy } from "../../src/engine/copy/copy.ts";
import { erase } from "../../src/engine/erase/erase.ts";
import { surveyProject } from "../../src/engine/erase/survey.ts";
import type { Context } from "../../src/context.ts";
import { forgetPoint } from "../../src/engine/retention/forget.ts";
import { hold } from "../../src/engine/retention/hold.ts";
import { gc } from "../../src/engine/gc/gc.ts";
import type { Repository } from "../../src/project/repository.ts";
import { restore } from "../../src/engine/restore/restore.ts";
import { repair } from "../../src/engine/verify/repair.ts";
import { verify } from "../../src/engine/verify/verify.ts";
import {
  DamageError,
  describeError,
  InterruptedError,
  MissingError,
  StoreError,
  UnavailableError,
  VarveError,
} from "../../src/errors.ts";
import { manifestName, projectPrefix } from "../../src/format/layout.ts";
import { RetryStore } from "../../src/store/wrappers/retry.ts";
import { memorySource, type TestDiff } from "../kit/memory_source.ts";
import { MemoryTarget } from "../kit/memory_target.ts";
import { changedVolume, CHUNK_BYTES, diffOf, newVolume, volumeBytes } from "./content.ts";
import type { Objects } from "./objects.ts";
import { type Oracle, type Point, PROJECT } from "./oracle.ts";
import { HOUR_MS, Process, type Scheduler } from "./scheduler.ts";
import { withRandomBytes } from "./randomness.ts";
import { type Faults, SimulatedStore } from "./simulated_store.ts";
export const VOLUMES = ["a", "b/c"];
/** Short, so that processes also give up. */
const RETRY_FOR_MS = 2000;
/** For this long a lease protects whoever stands still, whatever happens. */
const TRUSTED_MS = 12 * HOUR_MS;

/** A repository, and what must be true of it. */
export interface Site {
  objects: Objects;
  oracle: Oracle;
}

export interface World extends Site {
  scheduler: Scheduler;
  /** Where points are copied to. */
  second: Site;
  faults: Faults;
  /** What volumes hold again and again. */
  volumes: string[];
  /** Of VOLUMES, so many: where there is one, its points follow from each other. */
  volumesUsed: number;
  /** What a gc leaves garbage for, in milliseconds: mostly nothing, since a grace makes much of what is looked for impossible. */
  graces: readonly number[];
  /** All hosts have one cache. */
  sharesCache: boolean;
  /** The store errs, hosts' clocks stop, and the store is put back to older copies. */
  errs: boolean;
  /** A gc goes on whatever it sees: mostly, for points are often all forgotten. */
  force: boolean;
  /** Of the run. */
  tally: { operations: number; failed: number; reported: number };
  /** Counts snapshots. */
  snapshots: number;
}

interface Work {
  world: World;
  /** Of the repository that it is about. */
  oracle: Oracle;
  process: Process;
  repository: Repository;
  second: Repository;
  context: Context;
  beganMs: number;
}

/** "there" is in the second repository. */
export type Operation =
  | "backup"
  | "restore"
  | "verify"
  | "forget"
  | "gc"
  | "copy"
  | "erase"
  | "hold"
  | "repair"
  | "forget there"
  | "gc there";

/** Runs one operation in its process until it is done or the process dies. What must not come of it is a violation. */
export async function runOperation(world: World, operation: Operation, process: Process): Promise<void> {
  const { scheduler, oracle } = world;
  const context = contextOf(world, process);
  const [here, there] = [repositoryOf(world, process, context), repositoryOf(world, process, context, true)];
  const [repository, site] = isThere(operation) ? [there, world.second] : [here, world];
  const parts = { world, process, context, repository, second: there, oracle: site.oracle };
  const work = { ...parts, beganMs: scheduler.nowMs };
  scheduler.note(process, `begins: ${operation}`);
  world.tally.operations++;
  const begun = withRandomBytes((count) => process.randomBytes(count), () => OPERATIONS[operation](work));
  const done = begun.then(
    (text) => scheduler.note(process, `is done: ${text}`),
    (error) => {
      scheduler.note(process, `fails: ${describeError(error)}`);
      world.tally.failed++;
      if (!mayHappen(error, work, operation)) oracle.fail(`${operation} failed: ${describeError(error)}`);
    },
  );
  await Promise.race([done, process.died]);
  process.die();
}

/** On a host whose clock is off by so much. */
export function newProcess({ errs, scheduler }: World, name: string, clockOffsetMs: number): Process {
  const process = new Process(name, { clockOffsetMs, seed: scheduler.random(2 ** 31) });
  if (errs) process.clocks = (["right", "still", "set back"] as const)[scheduler.random(3)]!;
  return process;
}

export function isThere(operation: Operation): boolean {
  return operation.endsWith(" there");
}

function repositoryOf(world: World, process: Process, { clock }: Context, there = false): Repository {
  const { scheduler } = world;
  const { objects } = there ? world.second : world;
  const reach = { scheduler, objects, process, faults: () => world.faults, place: there ? "second/" : "" };
  const store = new RetryStore(new SimulatedStore(reach), {
    onRetry: () => {},
    sleep: (ms, signal) => clock.sleep(ms, signal ?? new AbortController().signal),
    random: () => scheduler.random(1000) / 1000,
    now: () => scheduler.nowMs,
    retryForMs: RETRY_FOR_MS,
  });
  return { id: "5e".repeat(16), store, chunkBytes: CHUNK_BYTES };
}

function contextOf({ scheduler, sharesCache }: World, process: Process): Context {
  const quiet = () => {};
  return {
    signal: process.stop.signal,
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    clock: {
      now: () => scheduler.nowMs + process.clockOffsetMs,
      readings: () => readings(scheduler, process),
      sleep: (ms, signal) => sleep(scheduler, process, { ms, signal }),
    },
    host: "host",
    threads: 1,
    jobs: 3,
    cacheRoot: `/cache/${sharesCache ? "all" : process.host}`,
  };
}

/** One clock goes on while the host stands still, unless it is one on which all of them stop, as in a paused VM. */
function readings(
  { nowMs }: Scheduler,
  { clocks, clockOffsetMs, stalledMs }: Process,
): Record<string, number> {
  const awakeMs = nowMs - stalledMs;
  const wall = { right: nowMs, still: awakeMs, "set back": awakeMs - stalledMs }[clocks] + clockOffsetMs;
  return { wall, monotonic: awakeMs, boot: clocks === "right" ? nowMs : awakeMs };
}

function sleep(
  scheduler: Scheduler,
  process: Process,
  { ms, signal }: { ms: number; signal: AbortSignal },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  scheduler.later(ms, () => {
    if (!signal.aborted) scheduler.reply(process, `wakes`, resolve);
  });
  return promise;
}

function mayHappen(
  error: unknown,
  { process, world, oracle, beganMs }: Work,
  operation: Operation,
): boolean {
  const tookLong = world.scheduler.nowMs - beganMs > TRUSTED_MS;
  if (error instanceof InterruptedError) return process.stop.signal.aborted;
  // Whoever is told something wrong may give up, whatever it was.
  if (world.errs) return error instanceof VarveError;
  if (isFault(error)) return process.metFaults;
  // Nothing of the project can be relied on: only a crash of the code is wrong.
  if (oracle.isErasing) return error instanceof VarveError;
  // A gc took it for dead, and what it had written for garbage.
  if (error instanceof StoreError) {
    return tookLong && /the store confirmed it but|it reported /.test(error.message);
  }
  if (error instanceof DamageError) return operation === "restore" && tookLong;
  // Forgotten between the listing and the reading, or while it stood still.
  if (error instanceof MissingError) {
    return !operation.startsWith("gc") && (error.key.includes("/volumes/") || tookLong);
  }
  if (!(error instanceof VarveError)) return false;
  if (error.code === "conflict") {
    if (operation === "hold") return /a forget running|has just been forgotten/.test(error.message);
    return tookLong ||
      /base was forgotten|already exists|did not see when it started/.test(error.message);
  }
  if (isFault(error.cause)) return process.metFaults;
  return /it has no restore points|which has not been backed up|no restore point has that/.test(
    error.message,
  );
}

function isFault(error: unknown): boolean {
  return error instanceof StoreError && (error.retryable || error instanceof UnavailableError);
}

const OPERATIONS: Record<Operation, (work: Work) => Promise<string>> = {
  backup: runBackup,
  restore: runRestore,
  verify: runVerify,
  forget: runForget,
  gc: runGc,
  copy: runCopy,
  erase: runErase,
  hold: runHold,
  repair: runRepair,
  "forget there": runForget,
  "gc there": runGc,
};

async function runBackup({ world, process, repository, context }: Work): Promise<string> {
  const { oracle } = world;
  const { volume, diffs } = process.choose(() => chooseDiffs(world));
  const source = memorySource(diffs);
  const options = { project: PROJECT, volume, source, secrets: [], tags: [] };
  const reports = await backup(repository, options, context).catch(async (error) => {
    if (!(error instanceof VarveError) || error.code !== "not_found") throw error;
    // It was erased. Whoever goes on with it makes it anew, and so may another host.
    await createProject(repository, { name: PROJECT, secret: undefined }, context);
    return await backup(repository, options, context);
  });
  for (const { backup } of reports) oracle.reported(manifestKey({ volume, backup }));
  world.tally.reported += reports.length;
  return diffs.map(({ to }) => `${volume} at ${to}: ${oracle.contents.get(String(to))}`).join(", ");
}

function chooseDiffs(world: World): { volume: string; diffs: TestDiff[] } {
  const { oracle, scheduler: { random } } = world;
  const volume = VOLUMES[random(world.volumesUsed)]!;
  const points = pointsOf(oracle, volume);
  const from = random(3) === 0 ? undefined : points[random(points.length)]?.snapshot;
  const diffs: TestDiff[] = [];
  let [base, name] = [from === undefined ? "" : oracle.contents.get(from)!, from];
  for (let left = random(8) === 0 ? 2 : 1; left > 0; left--) {
    const content = random(4) > 0
      ? world.volumes[random(world.volumes.length)]!
      : base === ""
      ? newVolume(random)
      : changedVolume(base, random);
    const to = `s${++world.snapshots}`;
    oracle.contents.set(to, content);
    diffs.push(diffOf(content, { base, from: name, to }));
    [base, name] = [content, to];
  }
  return { volume, diffs };
}

async function runRestore({ world, repository, context }: Work): Promise<string> {
  const { oracle, scheduler: { random } } = world;
  const points = [...oracle.points.values()];
  const point = points[random(points.length)];
  if (point === undefined) return "nothing to restore";
  let target: MemoryTarget | undefined;
  const { volume } = point;
  await restore(repository, {
    ...{ project: PROJECT, volume, point: point.backup, secrets: [] },
    ...{ keepGoing: false, trustCache: false, dryRun: false, verifyTarget: false },
    openTarget: async ({ end }) => target = new MemoryTarget(end),
  }, context);
  const wanted = volumeBytes(oracle.contents.get(point.snapshot)!);
  if (Buffer.compare(target!.bytes, wanted) !== 0) oracle.fail(`${point.key} restores to other bytes`);
  return point.key;
}

/** Others may forget and sweep meanwhile: what no point needs any more is no finding. */
async function runVerify({ world, process, repository, context }: Work): Promise<string> {
  const sample = (["none", "all"] as const)[world.scheduler.random(2)]!;
  const { findings } = await verify(
    repository,
    { project: PROJECT, secrets: [], sample: { kind: sample } },
    context,
  );
  // That a store does not give what it has is true of one that was asked twice and erred twice; and what is broken is let
  // go without a record at the end of all troubles.
  const wrong = findings.filter(({ kind, key }) =>
    !(kind === "unavailable" && process.metFaults) && !world.oracle.isForgotten(key)
  );
  if (wrong.length > 0 && !world.oracle.isErasing && !world.oracle.isBroken) {
    world.oracle.fail(`verify finds ${JSON.stringify(wrong)}`);
  }
  return sample;
}

/** One point, or all that there are: what they share is garbage only then. */
async function runForget({ world, oracle, process, repository, context }: Work): Promise<string> {
  const { random } = world.scheduler;
  const chosen = process.choose(() => {
    const points = [...oracle.points.values()];
    return random(2) === 0 ? points : points.slice(random(points.length)).slice(0, 1);
  });
  for (const { key, volume, backup } of chosen) {
    const isHeld = oracle.isHeld(key);
    oracle.forgets(key);
    const options = { project: PROJECT, volume, point: backup, dryRun: false, secrets: [] };
    const isKept = await forgetPoint(repository, options, context).then(() => false, (error) => {
      if (error instanceof VarveError && /it is held/.test(error.message)) return true;
      throw error;
    });
    if (isKept) oracle.keeps(key);
    else if (isHeld) oracle.fail(`${key} was forgotten though it is held`);
  }
  return chosen.map(({ snapshot }) => snapshot).join(" ");
}

/** A point that is held stays, whoever forgets it meanwhile. */
async function runHold({ world, oracle, repository, context }: Work): Promise<string> {
  const { random } = world.scheduler;
  const points = [...oracle.points.values()];
  const point = points[random(points.length)];
  if (point === undefined) return "nothing to hold";
  const { volume, backup, key } = point;
  const options = { project: PROJECT, volume, point: backup, secrets: [] };
  await hold(repository, { ...options, reason: null }, context);
  oracle.holds(key);
  return key;
}

/** Without anything to heal from it marks what it finds damaged. */
async function runRepair({ repository, context }: Work): Promise<string> {
  const { healed, left } = await repair(repository, { project: PROJECT, secrets: [] }, context);
  return `${healed.length} healed, ${left.length} left`;
}

async function runErase({ repository, oracle, context }: Work): Promise<string> {
  const keys = oracle.erases();
  const survey = await surveyProject(repository, PROJECT, context);
  const options = { survey, overridden: [], by: "root@host", varve: "1" };
  const { deleted, leases, listed_after: left } = await erase(repository, options, context);
  if (left === 0) oracle.erased(keys);
  return `${deleted.objects} deleted, ${leases} leases`;
}

/** What was here from beginning to end is there then, unless somebody forgot it there; what it copied itself stays. */
async function runCopy({ world, repository, second, context }: Work): Promise<string> {
  const { oracle } = world.second;
  const before = [...world.oracle.points.keys()];
  const missing = before.filter((key) => !oracle.isStored(key));
  const options = { project: PROJECT, secrets: [], to: second.store };
  const { points, damaged } = await copy(repository, options, context);
  // A store may go on saying for a while that it has a point that was forgotten.
  const wrong = damaged.filter((point) => !world.oracle.isForgotten(manifestKey(point)));
  if (wrong.length > 0 && !world.oracle.isBroken) {
    oracle.fail(`a copy finds damage: ${JSON.stringify(wrong)}`);
  }
  const left = new Set(damaged.map(manifestKey));
  const isStillHere = (key: string) => world.oracle.points.has(key) && !left.has(key);
  // What another copy has just put there it may yet withdraw.
  if (points.copied === missing.length && points.present === before.length - missing.length) {
    missing.filter(isStillHere).forEach((key) => oracle.reported(key));
  }
  // A store that errs may show nothing for a while.
  const lost = before.find((key) => isStillHere(key) && !oracle.isStored(key) && !oracle.isForgotten(key));
  if (lost !== undefined && !world.errs) oracle.fail(`${lost} was not copied`);
  return `${points.copied} copied, ${points.present} present, ${points.forgotten} forgotten`;
}

async function runGc({ world, process, repository, context }: Work): Promise<string> {
  const { graces, force, scheduler: { random } } = world;
  const graceMs = process.choose(() => graces[random(graces.length)]!);
  const options = { project: PROJECT, secrets: [], dryRun: false, graceMs, force };
  const { condemned, deleted, spared, plans_swept, plans_waiting } = await gc(repository, options, context);
  const counts = `${condemned} condemned, ${deleted} deleted, ${spared} spared`;
  return `grace ${
    graceMs / HOUR_MS
  } h: ${counts}, ${plans_swept} plans swept, ${plans_waiting.length} waiting`;
}

function pointsOf(oracle: Oracle, volume: string): Point[] {
  return [...oracle.points.values()].filter((point) => point.volume === volume);
}

function manifestKey({ volume, backup }: { volume: string; backup: string }): string {
  return projectPrefix(PROJECT) + manifestName(volume, backup);
}
