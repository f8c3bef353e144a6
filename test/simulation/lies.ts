/**
 * A store that errs: now and then one answer is wrong. It is empty, short or minutes old, it says that there is nothing
 * where something is, or that it has done what it has not, or it gives an old version of an object.
 *
 * No two answers in a row that one process gets about the same thing are wrong: asked again, the store tells the truth.
 */
import type { StoredObject } from "./objects.ts";
import type { Reach } from "./simulated_store.ts";

/** How old an answer may be. */
const STALE_MS = 10 * 60_000;

export class Liar {
  /** Wrong answers, in all runs of this process. */
  static told = 0;
  readonly #reach: Reach;

  constructor(reach: Reach) {
    this.#reach = reach;
  }

  /** Of a `get`: also cut short. */
  bytesOf(key: string): Uint8Array | undefined {
    const { objects, scheduler } = this.#reach;
    if (scheduler.random(4) !== 0) return this.objectOf(key)?.bytes;
    const object = objects.get(key);
    if (object === undefined || !this.#lies(key)) return object?.bytes;
    return object.bytes.slice(0, scheduler.random(object.bytes.length));
  }

  /** What the store says that the key holds. */
  objectOf(key: string): StoredObject | undefined {
    const { objects, scheduler } = this.#reach;
    const object = objects.get(key);
    const wrong = [
      undefined,
      objects.then(key, scheduler.nowMs - STALE_MS),
      objects.before(key),
    ].filter((other) => other !== object);
    if (wrong.length === 0 || !this.#lies(key)) return object;
    return wrong[scheduler.random(wrong.length)];
  }

  /** A page of a listing; one that is shorter than the limit is the last. */
  page(prefix: string, { after, limit }: { after: string; limit: number }): [string, StoredObject][] {
    const { objects, scheduler } = this.#reach;
    const keys = objects.page(prefix, { after, limit });
    const page = keys.map((key): [string, StoredObject] => [key, objects.get(key)!]);
    if (!this.#lies(prefix)) return page;
    switch (scheduler.random(3)) {
      case 0:
        return [];
      case 1:
        return page.slice(0, scheduler.random(page.length + 1));
      default:
        return objects.everKeys(prefix).filter((key) => key > after)
          .map((key) => [key, objects.then(key, scheduler.nowMs - STALE_MS)])
          .filter((entry): entry is [string, StoredObject] => entry[1] !== undefined)
          .slice(0, limit);
    }
  }

  /** Whether a write or deletion is not done, though the store says so. */
  loses(key: string): boolean {
    return this.#lies(key);
  }

  #lies(about: string): boolean {
    const { process, scheduler, faults } = this.#reach;
    const before = [...process.lies].filter((other) => other.startsWith(about) || about.startsWith(other));
    for (const other of before) process.lies.delete(other);
    const { lies = 0, liesAbout } = faults();
    if (before.length > 0 || (liesAbout !== undefined && !liesAbout.test(about))) return false;
    if (!scheduler.happens(lies, about)) return false;
    process.lies.add(about);
    process.metFaults = true;
    Liar.told++;
    scheduler.note(process, `is told wrongly about ${about}`);
    return true;
  }
}
