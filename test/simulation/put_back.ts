/** A store that is put back to an older copy: as a whole, or by adding from the copy what is gone since. */
import type { World } from "./operations.ts";
import { DAY_MS, HOUR_MS, type Random } from "./scheduler.ts";

/** What a partial copy brings back. */
const PARTS = ["leases/", "gc/", "forgotten/", "chunks/", "volumes/"];

export function putBack(world: World, next: Random): void {
  const thenMs = world.scheduler.nowMs - [HOUR_MS / 60, HOUR_MS, DAY_MS, 2 * DAY_MS][next(4)]!;
  putBackTo(world, { thenMs, part: next(2) === 0 ? undefined : PARTS[next(PARTS.length)]! });
}

/** To what it was then: all of it, also what is not shown, or only what is gone since of one part. */
export function putBackTo(
  world: World,
  { thenMs, part }: { thenMs: number; part: string | undefined },
): void {
  const { scheduler, oracle, objects } = world;
  if (oracle.isErasing) return;
  const { hidden } = objects;
  objects.hidden = undefined;
  // Not to before the project was made: then there is nothing to be kept.
  const isMade = objects.keys("projects/").every((key) =>
    !key.includes("/keys/") || objects.then(key, thenMs)
  );
  if (isMade) {
    scheduler.note(undefined, `the store is put back to ${new Date(thenMs).toISOString()}: ${part ?? "all"}`);
    if (part === undefined) oracle.forgetsLater((key) => objects.then(key, thenMs) !== undefined);
    for (const key of objects.everKeys("projects/")) {
      const then = objects.then(key, thenMs);
      const now = objects.get(key);
      if (then === now) continue;
      if (part === undefined) {
        if (then === undefined) objects.delete(key, scheduler.nowMs);
        else objects.put(key, then, scheduler.nowMs);
      } else if (then !== undefined && now === undefined && key.includes(`/${part}`)) {
        objects.put(key, { ...then, modifiedMs: scheduler.nowMs });
      }
    }
  }
  objects.hidden = hidden;
}
