/**
 * Objects that several positions of one restore need, such as a whole chunk with patches over it: each is downloaded once
 * and comes out of the local chunk cache from then on.
 */
import { refsOf } from "../../format/entries.ts";
import { chunkName, type ObjectRef } from "../../format/layout.ts";
import { IdSet } from "../../volume/id_set.ts";
import type { Wanted } from "./restore_plan.ts";

/** Objects that are counted, about 40 bytes each: 2 TiB of volume. Of the others none is known to be needed again. */
const MAX_COUNTED = 500_000;

export class SharedChunks {
  readonly #needed = new IdSet();
  /** Downloads of objects that others wait for. */
  readonly #first = new Map<string, Promise<void>>();

  #unreadable: Wanted | undefined;

  /** Counts what the positions need; they have to be planned once more for the restore itself. */
  static async count(plan: AsyncIterable<Wanted>): Promise<SharedChunks> {
    const shared = new SharedChunks();
    for await (const wanted of plan) {
      const { entry, target, damage } = wanted;
      if (damage !== undefined) shared.#unreadable ??= wanted;
      if (entry === undefined || target === "same") continue;
      for (const { id } of refsOf(entry)) shared.#count(id);
    }
    return shared;
  }

  /** The first position of which it is not known what it needs. */
  get unreadable(): Wanted | undefined {
    return this.#unreadable;
  }

  /** Whether more than one position needs the object. */
  has({ id }: ObjectRef): boolean {
    return this.#needed.markOf(id) !== 0;
  }

  /** Runs `read` once nobody else reads one of the objects for the first time. */
  async inTurn<T>(refs: readonly ObjectRef[], read: () => Promise<T>): Promise<T> {
    const names = refs.filter((ref) => this.has(ref)).map(chunkName);
    await Promise.all(names.map((name) => this.#first.get(name)));
    const first = names.filter((name) => !this.#first.has(name));
    const work = read();
    const done = work.then(() => {}, () => {});
    for (const name of first) this.#first.set(name, done);
    try {
      return await work;
    } finally {
      for (const name of first) this.#first.delete(name);
    }
  }

  #count(id: Uint8Array): void {
    if (this.#needed.mark(id) || this.#needed.size === MAX_COUNTED) return;
    this.#needed.add(id);
  }
}
