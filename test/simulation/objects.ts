/** The objects of the simulated store with their history, and who wants to know when they change. */

export interface StoredObject {
  bytes: Uint8Array;
  modifiedMs: number;
}

export interface Watcher {
  onPut(key: string, object: StoredObject): void;
  onDelete(key: string): void;
}

export class Objects {
  watcher: Watcher | undefined;
  /** What the store does not show for a while, though it has it: a disk that is not mounted. */
  hidden: RegExp | undefined;
  readonly #objects = new Map<string, StoredObject>();
  /** What each key held, and since when. */
  readonly #history = new Map<string, { sinceMs: number; object: StoredObject | undefined }[]>();
  /** Ascending. */
  readonly #keys: string[] = [];

  get(key: string): StoredObject | undefined {
    return this.hidden?.test(key) ? undefined : this.#objects.get(key);
  }

  /** `nowMs`: when it comes to hold that, where it is not as old as the object. */
  put(key: string, object: StoredObject, nowMs = object.modifiedMs): void {
    if (!this.#objects.has(key)) this.#keys.splice(this.#firstAfter(key), 0, key);
    this.#objects.set(key, object);
    this.#note(key, { sinceMs: nowMs, object });
    this.watcher?.onPut(key, object);
  }

  delete(key: string, nowMs: number): void {
    if (!this.#objects.delete(key)) return;
    this.#keys.splice(this.#firstAfter(key) - 1, 1);
    this.#note(key, { sinceMs: nowMs, object: undefined });
    this.watcher?.onDelete(key);
  }

  /** What the key held then. */
  then(key: string, thenMs: number): StoredObject | undefined {
    return this.#history.get(key)?.findLast(({ sinceMs }) => sinceMs <= thenMs)?.object;
  }

  /** What the key held before what it holds now, if it was another object. */
  before(key: string): StoredObject | undefined {
    const objects = (this.#history.get(key) ?? []).map(({ object }) => object).filter((object) =>
      object !== undefined
    );
    return objects.findLast((object) => object !== this.#objects.get(key));
  }

  /** Every key with the prefix that ever held anything. */
  everKeys(prefix: string): string[] {
    return [...this.#history.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  #note(key: string, entry: { sinceMs: number; object: StoredObject | undefined }): void {
    this.#history.set(key, [...this.#history.get(key) ?? [], entry]);
  }

  /** At most `limit` keys with the prefix that sort after `after`. */
  page(prefix: string, { after, limit }: { after: string; limit: number }): string[] {
    const page: string[] = [];
    for (let at = this.#begin(prefix, after); page.length < limit; at++) {
      const key = this.#keys[at];
      if (key === undefined || !key.startsWith(prefix)) break;
      if (!this.hidden?.test(key)) page.push(key);
    }
    return page;
  }

  /** Every key with the prefix. */
  keys(prefix: string): string[] {
    return this.page(prefix, { after: "", limit: Infinity });
  }

  /** The first key that may have the prefix and sorts after `after`; the prefix itself is one. */
  #begin(prefix: string, after: string): number {
    if (after >= prefix) return this.#firstAfter(after);
    const at = this.#firstAfter(prefix);
    return this.#keys[at - 1] === prefix ? at - 1 : at;
  }

  #firstAfter(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! <= key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
