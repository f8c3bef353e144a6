/** The objects of the simulated store, and who wants to know when they change. */

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
  readonly #objects = new Map<string, StoredObject>();
  /** Ascending. */
  readonly #keys: string[] = [];

  get(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }

  put(key: string, object: StoredObject): void {
    if (!this.#objects.has(key)) this.#keys.splice(this.#firstAfter(key), 0, key);
    this.#objects.set(key, object);
    this.watcher?.onPut(key, object);
  }

  delete(key: string): void {
    if (!this.#objects.delete(key)) return;
    this.#keys.splice(this.#firstAfter(key) - 1, 1);
    this.watcher?.onDelete(key);
  }

  /** At most `limit` keys with the prefix that sort after `after`. */
  page(prefix: string, { after, limit }: { after: string; limit: number }): string[] {
    const page: string[] = [];
    // A key that equals the prefix is no case here: prefixes end in a slash.
    for (let at = this.#firstAfter(after > prefix ? after : prefix); page.length < limit; at++) {
      const key = this.#keys[at];
      if (key === undefined || !key.startsWith(prefix)) break;
      page.push(key);
    }
    return page;
  }

  /** Every key with the prefix. */
  keys(prefix: string): string[] {
    return this.page(prefix, { after: "", limit: Infinity });
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
