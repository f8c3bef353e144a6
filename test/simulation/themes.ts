/**
 * What the seeds are about: a theme brings the store into a state in which it is easy to go wrong, with processes that stand
 * still in the middle of their work, and says who then goes against whom. One theme in each round of seeds is anything.
 */
import { InterruptedError } from "../../src/errors.ts";
import { newProcess, type Operation, runOperation, type World } from "./operations.ts";
import { type Chances, DAY_MS, HOUR_MS, type Process, type Random } from "./scheduler.ts";
import { putBackTo } from "./put_back.ts";
import type { Faults } from "./simulated_store.ts";

export interface Theme {
  /** Before the first round. */
  prepare(world: World, next: Random): Promise<void>;
  /** What each host does in the first round; without it, anything. */
  duel?: readonly (readonly Operation[])[];
  /** The store errs, whatever the seed says. */
  errs?: true;
  /** It errs again and again about one of these. */
  liesAbout?: readonly RegExp[];
}

export const QUIET: Faults = { faulty: 0, slow: 0, pageKeys: 1000 };
export const CALM: Chances = { order: "random", change: 1000, crash: 0, stall: 0, interrupt: 0 };
/** Requests that must not arrive once their lease has ended: docs/gc.md. */
const LASTING = /put \S+\/(volumes|gc|forgotten)\/|delete \S+\/(chunks|volumes|gc)\//;
const LASTING_FAIL: Faults = { ...QUIET, faulty: 1200, at: LASTING };
const UNSURE = new RegExp(`^(failed|timed out|lost the reply): (${LASTING.source})`);

/** Before the plan, and before the deletions. */
const LOOKS_OF_GC = [/list \S+\/chunks\//, /get \S+\/gc\/\w+\/(\w\w|all)$/];

interface Places {
  steps: number;
  first: number;
  looks: readonly RegExp[];
  /** What it does before it looks for the last time. */
  work?: RegExp;
  /** From here on it deals with the repository in which it may meet a collector. */
  opens?: RegExp;
}

/**
 * Where a process stands still: anywhere, where it begins, or once it has asked for the last time what the others do.
 * Each of them is as likely.
 */
const PLACES: Record<Operation, Places> = {
  // Before the manifest: it asks for its lease when it begins and before it ends.
  backup: { steps: 62, first: 14, looks: [/head \S+\/leases\//], work: /\/chunks\// },
  restore: { steps: 22, first: 8, looks: [/get \S+\/chunks\//] },
  verify: { steps: 50, first: 8, looks: [/get \S+\/chunks\//] },
  forget: { steps: 30, first: 8, looks: [/list \S+\/volumes\//] },
  copy: {
    steps: 120,
    first: 14,
    looks: [/head second\/\S+\/leases\//],
    work: /second\/\S+\/chunks\//,
    opens: /get second\/\S+\/keys\//,
  },
  erase: { steps: 46, first: 10, looks: [/list \S+\/leases\//] },
  "forget there": { steps: 30, first: 8, looks: [/list \S+\/volumes\//] },
  "gc there": { steps: 80, first: 40, looks: LOOKS_OF_GC },
  hold: { steps: 16, first: 8, looks: [/list \S+\/leases\//] },
  repair: { steps: 50, first: 8, looks: [/get \S+\/chunks\//] },
  gc: { steps: 80, first: 40, looks: LOOKS_OF_GC },
};

/** Of 10,000. */
const ALWAYS = 10_000;
/** Volumes with a chunk in common, each with one of its own. */
const ALIKE = ["1230", "1231"];
const MINUTE_MS = 60_000;
/** After this a lease is dead. */
const LONG_MS = DAY_MS + HOUR_MS;

/** A process and a collector that take turns over garbage: each stands still while the other goes on. */
async function takeTurns(
  world: World,
  { operation, collector, next }: { operation: Operation; collector: Operation; next: Random },
): Promise<void> {
  const { first, steps, opens, work, looks } = PLACES[operation];
  const process = start(world, `standing ${operation}`, operation);
  if (opens !== undefined) await goOnFor(world, process, 0, opens);
  await goOnFor(world, process, next(first));
  const standing = await stand(world, collector, next);
  if (work === undefined || next(2) === 0) await goOnFor(world, process, first + next(steps - first));
  else for (const label of [work, looks[0]]) await goOnFor(world, process, 0, label);
  await goOn(world, standing);
  world.scheduler.thaw(process);
}

/**
 * A process that has yet to announce itself, and a collector that sweeps at once what it condemns. When the process looks for plans
 * it is told that there is none, once.
 */
async function missPlan(
  world: World,
  { operation, collector, next }: { operation: "backup" | "copy"; collector: Operation; next: Random },
): Promise<void> {
  const { opens = /get \S+\/keys\//, work, looks } = PLACES[operation];
  const process = start(world, `standing ${operation}`, operation);
  await goOnFor(world, process, 0, opens);
  if (next(2) === 0) await goOnFor(world, process, 1);
  const standing = start(world, `standing ${collector}`, collector);
  await goOnFor(world, standing, 0, LOOKS_OF_GC[1]);
  world.faults = { ...QUIET, lies: ALWAYS, denies: true, liesAbout: /\/gc\/$/ };
  for (const label of [work, looks[0]]) await goOnFor(world, process, 0, label);
  world.faults = QUIET;
  await goOn(world, standing);
  world.scheduler.thaw(process);
}

/** A backup about to write its manifest, and a collector that is told once that there is no lease, when it asks whom its plan waits for. */
async function missLease(world: World): Promise<void> {
  const { work, looks } = PLACES.backup;
  const process = start(world, "standing backup", "backup");
  for (const label of [work, looks[0]]) await goOnFor(world, process, 0, label);
  const collector = start(world, "standing gc", "gc");
  await goOnFor(world, collector, 0, LOOKS_OF_GC[0]);
  world.faults = { ...QUIET, lies: ALWAYS, denies: true, liesAbout: /\/leases\/$/ };
  await goOn(world, collector);
  world.faults = QUIET;
  world.scheduler.thaw(process);
}

const takingTurns: Theme = {
  async prepare(world, next) {
    await garbage(world, "forget");
    await takeTurns(world, { operation: "backup", collector: "gc", next });
  },
  duel: [["backup"]],
};

/** The turns count twice, for some rules show there alone. */
export const THEMES: readonly Theme[] = [
  // Two points, and whatever comes.
  { prepare: points },
  // A backup and a collector in the middle of their work, over garbage that the backup may need.
  {
    async prepare(world, next) {
      await garbage(world);
      const standing = [await stand(world, "backup", next), await stand(world, "gc", next)];
      standing.forEach((process) => world.scheduler.thaw(process));
    },
    duel: [["backup"]],
  },
  takingTurns,
  takingTurns,
  // A collector in the middle of its work while points are forgotten and made.
  {
    async prepare(world, next) {
      await garbage(world);
      world.scheduler.thaw(await stand(world, "gc", next));
    },
    duel: [["backup"], ["forget", "gc"]],
  },
  // A backup that goes on from a point which refers to what an older plan condemns, and which is forgotten meanwhile.
  {
    async prepare(world, next) {
      world.volumesUsed = 1;
      world.volumes = ALIKE;
      await waitingPlan(world, next);
      const process = await stand(world, "backup", next);
      await calmly(world, { operations: ["forget", "gc"], gapMs: HOUR_MS });
      world.scheduler.thaw(process);
    },
    duel: [["backup"], ["gc"]],
  },
  // A plan that waits for nobody any more, one that stands still while sweeping it, and others that may sweep it too.
  {
    async prepare(world, next) {
      await waitingPlan(world, next);
      const process = await stand(world, "gc", next);
      await calmly(world, { operations: ["gc", "backup", "backup"], gapMs: MINUTE_MS });
      world.scheduler.thaw(process);
    },
    duel: [["gc"], ["backup"]],
  },
  // Who began on points that are forgotten and swept while he stands still.
  {
    async prepare(world, next) {
      await points(world);
      const process = await stand(world, next(3) === 0 ? "restore" : "backup", next);
      await calmly(world, { operations: ["forget", "forget", "gc"], gapMs: HOUR_MS });
      world.scheduler.thaw(process);
    },
  },
  // The same for so long that his lease is dead.
  {
    async prepare(world, next) {
      await (next(2) === 0 ? points : garbage)(world);
      const process = await stand(world, next(4) === 0 ? "gc" : "backup", next);
      await calmly(world, { operations: ["forget", "gc"], gapMs: LONG_MS });
      world.scheduler.thaw(process);
    },
    duel: [["backup"], ["gc"]],
  },
  // A process that stands still for so long when it would try again what may be under way.
  {
    async prepare(world, next) {
      await garbage(world);
      world.faults = LASTING_FAIL;
      const operation = next(2) === 0 ? "gc" : "backup";
      const process = await stand(world, operation, next, (label) => UNSURE.test(label));
      const operations = operation === "gc" ? ["gc", "backup"] as const : ["forget", "gc"] as const;
      await calmly(world, { operations, gapMs: LONG_MS });
      world.scheduler.thaw(process);
    },
    duel: [["gc", "backup"], ["backup"]],
  },
  // A process that is done, or has given up, with something that may be under way; it arrives while others go on.
  {
    async prepare(world, next) {
      await garbage(world);
      world.faults = LASTING_FAIL;
      const operation = next(2) === 0 ? "gc" : "backup";
      await goOn(world, start(world, `unsure ${operation}`, operation));
      const operations = operation === "gc" ? ["backup", "backup"] as const : ["forget", "gc"] as const;
      await calmly(world, { operations, gapMs: MINUTE_MS });
    },
    duel: [["backup"], ["gc", "backup"]],
  },
  // Collectors and a backup that the store tells wrongly of points, leases or plans.
  {
    prepare: points,
    duel: [["gc", "gc"], ["backup", "gc"], ["gc"]],
    liesAbout: [/\/volumes\/$/, /\/volumes\/./],
  },
  // A plan, and a sweep of it by another, each of which is not told of the points at first.
  {
    async prepare(world, next) {
      await points(world);
      const process = await stand(world, "backup", next);
      world.faults = {
        ...QUIET,
        lies: ALWAYS,
        denies: true,
        liesAbout: next(2) === 0 ? /\/volumes\/$/ : /\/volumes\/./,
      };
      await goOn(world, start(world, "gc told wrongly", "gc"));
      process.stop.abort(new InterruptedError());
      await goOn(world, process);
      await goOn(world, start(world, "sweep told wrongly", "gc"));
    },
    duel: [["backup"], ["gc"]],
    errs: true,
  },
  // A backup, or a copy, that is told wrongly of the plans once, or a collector of the leases.
  {
    async prepare(world, next) {
      world.volumes = ALIKE;
      await garbage(world, "forget");
      if (next(2) === 0) await missLease(world);
      else await missPlan(world, { operation: "backup", collector: "gc", next });
    },
    duel: [["backup"]],
    errs: true,
  },
  {
    async prepare(world, next) {
      world.volumes = ALIKE;
      const operations = ["backup", "copy", "forget there", "forget", "backup"] as const;
      await calmly(world, { operations, gapMs: HOUR_MS });
      await missPlan(world, { operation: "copy", collector: "gc there", next });
    },
    duel: [["copy"]],
    errs: true,
  },
  // Who forgets points that are held, and is not told of it.
  {
    async prepare(world) {
      await points(world);
      await calmly(world, { operations: ["hold", "hold"], gapMs: MINUTE_MS });
    },
    duel: [["forget"], ["forget", "forget"], ["backup"]],
    liesAbout: [/\/holds\/./],
  },
  // A forget that stands still until its lease is dead, and does not know it; the point is held meanwhile.
  {
    async prepare(world, next) {
      await points(world);
      const process = start(world, "standing forget", "forget");
      process.clocks = "still";
      await goOnFor(world, process, next(2), /: (put|head) \S+\/forgotten\//);
      const operations = next(2) === 0 ? ["gc", "hold", "hold"] as const : ["hold", "hold"] as const;
      await calmly(world, { operations, gapMs: LONG_MS });
      world.scheduler.thaw(process);
    },
    duel: [["backup"], ["forget"]],
  },
  // A backup that has yet to announce itself while its base is forgotten and swept, and the plan itself is over.
  {
    async prepare(world, next) {
      world.volumesUsed = 1;
      // What holds again what its base held reads nothing of it, and does not notice that it is gone.
      world.volumes = ALIKE.slice(0, 1);
      await points(world);
      const process = start(world, "standing backup", "backup");
      await goOnFor(world, process, 0, /get \S+\/keys\//);
      // Often when the store has told it of its base.
      if (next(2) === 0) await goOnFor(world, process, 1, /does: get \S+\/volumes\//);
      else await goOnFor(world, process, next(PLACES.backup.first));
      await calmly(world, { operations: ["forget", "forget", "gc", "gc", "gc"], gapMs: 9 * DAY_MS });
      world.scheduler.thaw(process);
    },
    duel: [["backup"]],
  },
  // A backup that relies on what was made after its lease, and the store is put back to between the two.
  {
    async prepare(world, next) {
      world.volumesUsed = 1;
      const process = start(world, "standing backup", "backup");
      await goOnFor(world, process, 0, /done: head \S+\/leases\//);
      const leasedMs = world.scheduler.nowMs;
      await points(world);
      await goOnFor(world, process, next(PLACES.backup.steps));
      putBackTo(world, { thenMs: leasedMs, part: undefined });
      await goOn(world, process);
    },
    duel: [["backup"], ["restore"]],
    errs: true,
  },
  {
    async prepare(world, next) {
      await waitingPlan(world, next);
    },
    duel: [["backup", "gc"], ["backup"], ["gc", "gc"]],
    liesAbout: [/\/gc\/$/, /\/leases\/$/],
  },
  // A host that is put back to a copy of its memory: what it goes on with, others have long seen done.
  {
    async prepare(world, next) {
      await (next(2) === 0 ? garbage(world) : waitingPlan(world, next));
      const operation = (["backup", "backup", "gc", "forget"] as const)[next(4)]!;
      const process = await stand(world, operation, next);
      const snapshot = process.snapshot();
      await goOn(world, process);
      const operations = operation === "gc"
        ? ["gc", "backup", "backup"] as const
        : ["forget", "gc", "gc"] as const;
      await calmly(world, { operations, gapMs: [MINUTE_MS, LONG_MS, 3 * DAY_MS][next(3)]! });
      void runOperation(world, operation, snapshot());
    },
    duel: [["backup"], ["gc"]],
    errs: true,
  },
  // A forget that is done, or has given up, while its deletion is under way, and who then holds the point.
  {
    async prepare(world, next) {
      await points(world);
      world.faults = LASTING_FAIL;
      const process = start(world, "unsure forget", "forget");
      if (next(2) === 0) await goOnUntil(world, process, (label) => /delete \S+\/volumes\//.test(label));
      process.stop.abort(new InterruptedError());
      await goOn(world, process);
      await calmly(world, { operations: ["hold", "hold"], gapMs: MINUTE_MS });
    },
    duel: [["backup"], ["hold"]],
  },
  // An old plan that is put back, after it was swept and removed, while a backup stores again what it condemned.
  {
    async prepare(world, next) {
      await waitingPlan(world, next);
      const plans = world.objects.keys("projects/").filter((key) => key.includes("/gc/"))
        .map((key) => [key, world.objects.get(key)!] as const);
      await calmly(world, { operations: ["gc", "gc", "gc"], gapMs: 9 * DAY_MS });
      const process = await stand(world, "backup", next);
      const nowMs = world.scheduler.nowMs;
      for (const [key, object] of plans) world.objects.put(key, { ...object, modifiedMs: nowMs });
      await calmly(world, { operations: ["gc"], gapMs: MINUTE_MS });
      world.scheduler.thaw(process);
    },
    duel: [["backup"], ["gc"]],
  },
  // A copy and a collector of the second repository that take turns, over points that were forgotten there.
  {
    async prepare(world, next) {
      await copied(world);
      await takeTurns(world, { operation: "copy", collector: "gc there", next });
    },
    duel: [["copy"], ["backup", "copy"], ["forget there", "gc there"]],
  },
  // A copy that needs again what an older plan of the second repository condemns: that waited for one that was interrupted.
  {
    async prepare(world, next) {
      await copied(world);
      const process = await stand(world, "copy", next);
      await calmly(world, { operations: ["gc there"], gapMs: MINUTE_MS });
      process.stop.abort(new InterruptedError());
      await goOn(world, process);
      const copy = await stand(world, "copy", next);
      await calmly(world, { operations: ["gc there"], gapMs: MINUTE_MS });
      world.scheduler.thaw(copy);
    },
    duel: [["copy"], ["forget", "gc"], ["gc there"]],
  },
  // An erasure from beginning to end while a process stands still; what that does then must leave nothing to be read.
  {
    async prepare(world, next) {
      await points(world);
      const operation = (["backup", "backup", "restore", "gc"] as const)[next(4)]!;
      const process = start(world, `standing ${operation}`, operation);
      // Often with the key just read.
      if (next(2) === 0) await goOnFor(world, process, 0, /get \S+\/keys\//);
      else await goOnSomewhere(world, process, { operation, next });
      await calmly(world, { operations: ["erase"], gapMs: MINUTE_MS });
      world.scheduler.thaw(process);
    },
    duel: [["backup"], ["restore"]],
  },
  // One in the middle of its work while others go on, and begin.
  {
    async prepare(world, next) {
      await points(world);
      const standing = [await stand(world, "backup", next), await stand(world, "erase", next)];
      standing.forEach((process) => world.scheduler.thaw(process));
    },
    duel: [["backup"], ["gc", "backup"], ["restore"]],
  },
];

/** Two points, copied, and forgotten in the second repository: one of them, or both. */
async function copied(world: World): Promise<void> {
  await calmly(world, { operations: ["backup", "backup", "copy", "forget there"], gapMs: HOUR_MS });
}

async function points(world: World): Promise<void> {
  await calmly(world, { operations: ["backup", "backup"], gapMs: HOUR_MS });
}

/** Garbage, and mostly a point: with one more "forget" never one. */
async function garbage(world: World, ...more: Operation[]): Promise<void> {
  await calmly(world, { operations: ["backup", "backup", "forget", ...more], gapMs: HOUR_MS });
}

/** Over garbage a backup stands still and a plan waits for it; then it goes on to its end. */
async function waitingPlan(world: World, next: Random): Promise<void> {
  await garbage(world, "forget");
  const process = await stand(world, "backup", next);
  await calmly(world, { operations: ["gc"], gapMs: MINUTE_MS });
  await goOn(world, process);
}

/** A process that stands still: somewhere in its work, or after the first step that `isHere` is true of. */
async function stand(
  world: World,
  operation: Operation,
  next: Random,
  isHere?: (label: string) => boolean,
): Promise<Process> {
  const process = start(world, `standing ${operation}`, operation);
  if (isHere !== undefined) await goOnUntil(world, process, isHere);
  else await goOnSomewhere(world, process, { operation, next });
  return process;
}

async function goOnSomewhere(
  world: World,
  process: Process,
  { operation, next }: { operation: Operation; next: Random },
): Promise<void> {
  const { steps, first, looks } = PLACES[operation];
  const way = next(2 + looks.length);
  if (way === 0) await goOnFor(world, process, next(steps));
  else if (way === 1) await goOnFor(world, process, next(first));
  else await goOnFor(world, process, operation === "backup" || operation === "copy" ? 2 : 0, looks[way - 2]);
}

/** So many steps, of those with such a label; then it stands still. */
async function goOnFor(world: World, process: Process, steps: number, label = /^/): Promise<void> {
  let left = steps;
  await goOnUntil(world, process, (last) => label.test(last) && left-- === 0);
}

async function goOnUntil(
  world: World,
  process: Process,
  isHere: (label: string) => boolean,
): Promise<void> {
  const { scheduler } = world;
  scheduler.thaw(process);
  let seen = scheduler.steps;
  await scheduler.run(() => {
    if (!process.isAlive) return true;
    if (scheduler.steps === seen) return false;
    seen = scheduler.steps;
    return isHere(scheduler.last);
  });
  scheduler.freeze(process);
}

function start(world: World, name: string, operation: Operation): Process {
  const process = newProcess(world, name, 0);
  void runOperation(world, operation, process);
  return process;
}

/** Until the process is done; nothing happens to it, and those that stand still go on doing so. */
async function goOn({ scheduler, oracle }: World, process: Process): Promise<void> {
  scheduler.thaw(process);
  await scheduler.run(() => !process.isAlive || oracle.violation !== undefined);
}

/** One operation after the other, each after a while, and nothing happens to them. */
export async function calmly(
  world: World,
  { operations, gapMs }: { operations: readonly Operation[]; gapMs: number },
): Promise<void> {
  world.scheduler.chances = CALM;
  world.faults = QUIET;
  for (const operation of operations) {
    world.scheduler.nowMs += gapMs;
    await goOn(world, start(world, `calm ${operation}`, operation));
  }
}

/** Until nothing is left to happen, or something went wrong. */
export async function finish({ scheduler, oracle }: World): Promise<void> {
  await scheduler.run(() => oracle.violation !== undefined);
}
