/**
 * Collecting this thread's garbage. Left to itself the runtime takes the shared buffers for part of its heap,
 * and lets garbage grow until it is as large as they are.
 */

/** Between two full collections, about 20 ms each. */
const WORK_PER_COLLECTION = 256;

let work = 0;

/** To be called for each piece of work; `weight` is how many tasks for a worker leave as much garbage. */
export function noteAllocation(weight = 1): void {
  work += weight;
  if (work < WORK_PER_COLLECTION) return;
  work = 0;
  collectGarbage();
}

/** A full collection, after which the allocator, too, gives back what it holds. */
export function collectGarbage(): void {
  Bun.gc(true);
}
