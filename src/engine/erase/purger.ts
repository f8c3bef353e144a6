/**
 * Empties a prefix of a store: objects, old versions, delete markers, unfinished uploads. What a lock holds stays, and is
 * hidden behind a delete marker, so that nobody meets it any more.
 */
import { versionPages, versionsOf } from "../../store/versions.ts";
import type { ObjectVersions, Store, StoredVersion, VersionPage } from "../../store/store.ts";
import type { Context } from "../../context.ts";
import { forEachLimited } from "../../util/task_limiter.ts";

/** Batches being removed while the listing goes on. */
const BATCHES_AT_ONCE = 4;
/** A pass finds what the one before could not remove yet: markers, once what they cover is gone. */
const PASSES_MAX = 8;
/** Keys hidden by one request. */
const HIDDEN_AT_ONCE = 1000;

interface Removed {
  objects: number;
  bytes: number;
  markers: number;
  uploads: number;
}

interface PurgerOptions {
  /**
   * Called after something was listed and before any of it is removed; throws where nothing more must go. What it could not
   * see yet had not been written when the listing was made.
   */
  beforeRemoval: () => Promise<void>;
  /** Told how many things are gone so far. */
  onProgress?: ((removed: number) => void) | undefined;
}

export class Purger {
  /** Until now. */
  readonly removed: Removed = { objects: 0, bytes: 0, markers: 0, uploads: 0 };
  readonly #store: Store;
  readonly #history: ObjectVersions;
  readonly #context: Context;
  readonly #options: PurgerOptions;

  constructor(store: Store, options: PurgerOptions, context: Context) {
    this.#store = store;
    this.#history = versionsOf(store);
    this.#context = context;
    this.#options = options;
  }

  /** Purges the prefix; how many objects, as anybody sees them, are gone from it. */
  async purgeVisible(prefix: string): Promise<number> {
    const before = await this.#seen(prefix);
    if (before === 0) return 0;
    await this.purge(prefix);
    return before - await this.#seen(prefix);
  }

  async #seen(prefix: string): Promise<number> {
    return (await Array.fromAsync(this.#store.list(prefix, this.#context), () => 1)).length;
  }

  /** Passes over the prefix until one finds nothing that can be removed, then hides what is left. */
  async purge(prefix: string): Promise<void> {
    for (let pass = 1; pass <= PASSES_MAX; pass++) {
      if (await this.#pass(prefix) === 0) break;
    }
    await this.#hide(prefix);
  }

  /** How much went. */
  async #pass(prefix: string): Promise<number> {
    let count = 0;
    await forEachLimited(this.#removableBatches(prefix), BATCHES_AT_ONCE, async (traces) => {
      const removed = await this.#remove(traces);
      count += removed;
    });
    return count;
  }

  /** What can be removed of each page of the listing, once it is known that it may be. */
  async *#removableBatches(prefix: string): AsyncGenerator<StoredVersion[]> {
    for await (const page of versionPages(this.#history, prefix, this.#context)) {
      const traces = await this.#removable(page);
      if (traces.length > 0) await this.#options.beforeRemoval();
      yield traces;
    }
  }

  /**
   * Everything but the delete markers that still cover a version: without its marker what a lock holds would come to
   * light again.
   */
  async #removable({ traces, next }: VersionPage): Promise<StoredVersion[]> {
    const versions = new Set(traces.filter(({ kind }) => kind === "version").map(({ key }) => key));
    const lastKey = traces.reduce((last, { key }) => key > last ? key : last, "");
    const removable: StoredVersion[] = [];
    for (const trace of traces) {
      const covers = trace.kind === "marker" && trace.isLatest && (
        versions.has(trace.key) ||
        (next !== undefined && trace.key === lastKey && await this.#hasVersion(lastKey))
      );
      if (!covers) removable.push(trace);
    }
    return removable;
  }

  /** Its versions may be on the next page. */
  async #hasVersion(key: string): Promise<boolean> {
    for await (const { traces } of versionPages(this.#history, key, this.#context)) {
      if (traces.some((trace) => trace.key === key && trace.kind === "version")) return true;
    }
    return false;
  }

  async #remove(traces: readonly StoredVersion[]): Promise<number> {
    const left = await this.#history.remove(traces, this.#context);
    for (const { trace, reason } of left) {
      this.#context.log.debug({ key: trace.key, reason }, "the store did not delete an object");
    }
    const kept = new Set(left.map(({ trace }) => trace));
    for (const trace of traces) if (!kept.has(trace)) this.#count(trace);
    this.#options.onProgress?.(this.removed.objects + this.removed.markers + this.removed.uploads);
    return traces.length - left.length;
  }

  #count({ kind, sizeBytes }: StoredVersion): void {
    if (kind === "marker") this.removed.markers++;
    else if (kind === "upload") this.removed.uploads++;
    else {
      this.removed.objects++;
      this.removed.bytes += sizeBytes;
    }
  }

  /** A delete without a version's id puts a marker over what cannot be removed. */
  async #hide(prefix: string): Promise<void> {
    let keys: string[] = [];
    const flush = async () => {
      await this.#options.beforeRemoval();
      await this.#store.delete(keys, this.#context);
    };
    for await (const { key } of this.#store.list(prefix, this.#context)) {
      if (keys.push(key) < HIDDEN_AT_ONCE) continue;
      await flush();
      keys = [];
    }
    if (keys.length > 0) await flush();
  }
}
