/** A store that is put back to an older copy: as a whole, or by adding from the copy what is gone since. */
import type { World } from "./operations.ts";
import { DAY_MS, HOUR_MS, type Random } from "./scheduler.ts";

/** What a partial copy brings back. */
const PARTS = ["leases/", "gc/", "forgotten/", "chunks/", "volumes/"];

export function putBack(world: World, next: Random): void {
  const { scheduler, oracle, objects } = world;
  if (oracle.isErasing) return;
  const thenMs = scheduler.nowMs - [HOUR_MS / 60, HOUR_MS, DAY_MS, 2 * DAY_MS][next(4)]!;
  const whole = next(2) === 0;
  // Not to before the project was made: then there is nothing to be kept.
  if (objects.keys("projects/").some((key) => key.includes("/keys/") && !objects.then(key, thenMs))) return;
  const part = PARTS[next(PARTS.length)]!;
  scheduler.note(
    undefined,
    `the store is put back to ${new Date(thenMs).toISOString()}: ${whole ? "all" : part}`,
  );
  if (whole) oracle.forgetsLater((key) => objects.then(key, thenMs) !== undefined);
  for (const key of objects.everKeys("projects/")) {
    const then = objects.then(key, thenMs);
    const now = objects.get(key);
    if (then === now || (!whole && !key.includes(`/${part}`))) continue;
    if (then !== undefined && (whole || now === undefined)) {
      objects.put(key, whole ? then : { ...then, modifiedMs: scheduler.nowMs }, scheduler.nowMs);
    } else if (whole) objects.delete(key, scheduler.nowMs);
  }
}
