/**
 * What the seeds are about: a theme brings the store into a state in which it is easy to go wrong, with processes that stand
 * still in the middle of their work, and says who then goes against whom. One theme in each round of seeds is anything.
 */
import { type Operation, runOperation, type World } from "./operations.ts";
import { type Chances, DAY_MS, DELICATE, HOUR_MS, Process, type Random } from "./scheduler.ts";
import type { Faults } from "./simulated_store.ts";

export interface Theme {
  /** Before the first round. */
  prepare(world: World, next: Random): Promise<void>;
  /** What each host does in the first round; without it, anything. */
  duel?: readonly (readonly Operation[])[];
}

export const QUIET: Faults = { faulty: 0, slow: 0, pageKeys: 1000 };
export const CALM: Chances = { order: "random", change: 1000, crash: 0, stall: 0, interrupt: 0 };
const NOISY: Faults = { ...QUIET, faulty: 800 };

/** Delicate steps after which a process of each operation stands still, at most. */
const STANDING_STEPS = { backup: 16, restore: 8, verify: 1, forget: 8, gc: 60 } satisfies Record<
  Operation,
  number
>;

const DUEL: Theme["duel"] = [["backup"], ["forget", "gc"]];

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
  // A collector in the middle of its work while points are forgotten and made.
  {
    async prepare(world, next) {
      await garbage(world);
      world.scheduler.thaw(await stand(world, "gc", next));
    },
    duel: DUEL,
  },
  // A point that refers to what an older plan condemns, and is forgotten in its turn.
  {
    async prepare(world, next) {
      await garbage(world);
      await waitingPlan(world, next);
      await finish(world);
    },
    duel: DUEL,
  },
  // A plan that waits for nobody any more, and several that may sweep it.
  {
    async prepare(world, next) {
      await garbage(world);
      await waitingPlan(world, next);
      await finish(world);
    },
    duel: [["gc"], ["gc"], ["backup", "backup"]],
  },
  // Who began on points that are forgotten and swept while he stands still.
  {
    async prepare(world, next) {
      await points(world);
      const process = await stand(world, next(3) === 0 ? "restore" : "backup", next);
      await calmly(world, { operations: ["forget", "gc"], gapMs: HOUR_MS });
      world.scheduler.thaw(process);
    },
  },
  // The same for so long that his lease is dead.
  {
    async prepare(world, next) {
      await (next(2) === 0 ? points : garbage)(world);
      const process = await stand(world, next(4) === 0 ? "gc" : "backup", next);
      await calmly(world, { operations: ["forget", "gc"], gapMs: DAY_MS + HOUR_MS });
      world.scheduler.thaw(process);
    },
    duel: [["backup"], ["gc"]],
  },
  // A manifest or a deletion that may still be under way, when its process stands still or has given up.
  {
    async prepare(world, next) {
      await garbage(world);
      world.faults = NOISY;
      const operation = next(2) === 0 ? "gc" : "backup";
      const isUnsure = (label: string) =>
        /^(failed|timed out|lost).*: (put \S+\/volumes|delete \S+\/chunks)/.test(label);
      const process = await stand(world, operation, next, isUnsure);
      const gapMs = [HOUR_MS, DAY_MS + HOUR_MS][next(2)]!;
      await calmly(world, { operations: ["gc"], gapMs });
      world.scheduler.thaw(process);
    },
    duel: [["gc", "backup"], ["backup"]],
  },
];

async function points(world: World): Promise<void> {
  await calmly(world, { operations: ["backup", "backup"], gapMs: HOUR_MS });
}

async function garbage(world: World): Promise<void> {
  await calmly(world, { operations: ["backup", "backup", "forget"], gapMs: HOUR_MS });
}

/** A backup stands still, a plan waits for it, then it goes on. */
async function waitingPlan(world: World, next: Random): Promise<void> {
  const process = await stand(world, "backup", next);
  await calmly(world, { operations: ["gc"], gapMs: HOUR_MS });
  world.scheduler.thaw(process);
}

/** A process that stands still, after some delicate step of its work or the first that `isHere` is true of. */
async function stand(
  world: World,
  operation: Operation,
  next: Random,
  isHere?: (label: string) => boolean,
): Promise<Process> {
  const { scheduler } = world;
  const process = new Process(`standing ${operation}`, 0);
  let left = next(STANDING_STEPS[operation]);
  void runOperation(world, operation, process);
  await scheduler.run(() => {
    if (!process.isAlive) return true;
    if (isHere !== undefined) return isHere(scheduler.last);
    return DELICATE.test(scheduler.last) && left-- <= 0;
  });
  scheduler.freeze(process);
  return process;
}

/** One operation after the other, each after a while, and nothing happens to them. */
export async function calmly(
  world: World,
  { operations, gapMs }: { operations: readonly Operation[]; gapMs: number },
): Promise<void> {
  world.scheduler.chances = CALM;
  world.faults = QUIET;
  for (const [i, operation] of operations.entries()) {
    world.scheduler.nowMs += gapMs;
    void runOperation(world, operation, new Process(`calm.${i}`, 0));
    await finish(world);
  }
}

/** Until nothing is left to happen, or something went wrong. */
export async function finish({ scheduler, oracle }: World): Promise<void> {
  await scheduler.run(() => oracle.violation !== undefined);
}
