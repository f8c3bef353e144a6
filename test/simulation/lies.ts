/**
 * A store that errs: now and then one answer is wrong. It is empty, short or minutes old, it says that there is nothing
 * where something is, or that it has done what it has not, or it gives an old version of an object.
 *
 * A process is never told wrongly of one object twice in a row: the next answer that says something of it, be it of the
 * object or of a listing that it belongs in, is true of it. So of two listings in a row each may be short, but not of the
 * same object. After bytes that were cut short, whole ones come.
 */
import type { StoredObject } from "./objects.ts";
import type { Reach } from "./simulated_store.ts";

/** How old an answer may be. */
const STALE_MS = 10 * 60_000;

type Entry = [key: string, object: StoredObject];

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
    const bytes = objects.get(key)?.bytes;
    if (this.#isOwed(key) || this.#isOwed(wholeOf(key))) {
      this.#tells([key, wholeOf(key)]);
      return bytes;
    }
    if (bytes === undefined || this.#denies || scheduler.random(4) !== 0) return this.objectOf(key)?.bytes;
    if (!this.#lies(key, [wholeOf(key)])) return bytes;
    return bytes.slice(0, scheduler.random(bytes.length));
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
    if (wrong.length === 0 || (this.#denies && object === undefined)) {
      this.#tells([key]);
      return object;
    }
    if (!this.#lies(key, [key])) return object;
    return this.#denies ? undefined : wrong[scheduler.random(wrong.length)];
  }

  /** A page of a listing; one that is shorter than the limit is the last. */
  page(prefix: string, { after, limit }: { after: string; limit: number }): Entry[] {
    const { objects, scheduler } = this.#reach;
    const page = objects.page(prefix, { after, limit }).map((key): Entry => [key, objects.get(key)!]);
    const told = scheduler.happens(this.#chance(prefix), prefix)
      ? this.#wrongPage(prefix, { after, limit, page })
      : page;
    const covered = objects.page(prefix, { after, limit: Infinity })
      .filter((key) => told.length < limit || key <= told.at(-1)![0]);
    const said = new Map(told);
    const wrong = [...new Set([...covered, ...said.keys()])].filter((key) =>
      said.get(key) !== objects.get(key)
    );
    if (wrong.some((key) => this.#isOwed(key))) {
      this.#tells(page.map(([key]) => key));
      return page;
    }
    this.#tells(covered);
    if (wrong.length > 0) this.#errs(prefix, wrong);
    return told;
  }

  /** Whether a write or deletion is not done, though the store says so. */
  loses(key: string): boolean {
    return this.#lies(key, [key]);
  }

  #wrongPage(
    prefix: string,
    { after, limit, page }: { after: string; limit: number; page: Entry[] },
  ): Entry[] {
    const { objects, scheduler } = this.#reach;
    switch (this.#denies ? 0 : scheduler.random(3)) {
      case 0:
        return [];
      case 1:
        return page.slice(0, scheduler.random(page.length + 1));
      default:
        return objects.everKeys(prefix).filter((key) => key > after)
          .map((key) => [key, objects.then(key, scheduler.nowMs - STALE_MS)])
          .filter((entry): entry is Entry => entry[1] !== undefined)
          .slice(0, limit);
    }
  }

  get #denies(): boolean {
    return this.#reach.faults().denies === true;
  }

  /** Whether this answer, which tells of these keys, is wrong. */
  #lies(about: string, keys: readonly string[]): boolean {
    const isOwed = keys.some((key) => this.#isOwed(key));
    this.#tells(keys);
    if (isOwed || !this.#reach.scheduler.happens(this.#chance(about), about)) return false;
    this.#errs(about, keys);
    return true;
  }

  /** Of 10,000 answers about that, those that are wrong. */
  #chance(about: string): number {
    const { lies = 0, liesAbout } = this.#reach.faults();
    return liesAbout === undefined || liesAbout.test(about) ? lies : 0;
  }

  /** Whether the process was told wrongly of it, and has to be told the truth now. */
  #isOwed(key: string): boolean {
    return this.#reach.process.lies.has(this.#placed(key));
  }

  #tells(keys: readonly string[]): void {
    for (const key of keys) this.#reach.process.lies.delete(this.#placed(key));
  }

  #errs(about: string, keys: readonly string[]): void {
    const { process, scheduler } = this.#reach;
    for (const key of keys) process.lies.add(this.#placed(key));
    process.metFaults = true;
    Liar.told++;
    scheduler.note(process, `is told wrongly about ${about}`);
  }

  #placed(key: string): string {
    return `${this.#reach.place ?? ""}${key}`;
  }
}

/** That the bytes come whole: of that only a `get` tells. */
function wholeOf(key: string): string {
  return `all of ${key}`;
}
