/**
 * What a run has put, or found present, and its manifest will refer to: looked at once more before there is a manifest. A store
 * that said 200 for what it did not store must not cost a restore point. docs/gc.md.
 */
import { isUnreadable, StoreError } from "../errors.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { decodeHeader, HEADER_BYTES, objectType } from "../format/object.ts";
import type { Context } from "../context.ts";
import { IdSet } from "./id_set.ts";
import type { Project } from "../project/project.ts";
import { forEachLimited } from "../util/task_limiter.ts";
import { later, PresentObjects, type WrittenObject } from "./present_objects.ts";

/** Objects remembered until they are looked at, 36 bytes each. */
const MAX_REMEMBERED = 50_000;
/** Questions at once. */
const QUESTIONS_AT_ONCE = 32;

/** Enough of an object to say how long it is. */
const HEADER_RANGE = { offset: 0, length: HEADER_BYTES };

interface Batch {
  /** Plain keys, each marked with its size. */
  plain: IdSet;
  /** By name: they are few. */
  suffixed: Map<string, { ref: ObjectRef; sizeBytes: number }>;
}

export class StoredObjects {
  readonly #project: Project;
  readonly #signal: AbortSignal;
  #batch = newBatch();
  #newest: WrittenObject | undefined;

  constructor(project: Project, { signal }: Pick<Context, "signal">) {
    this.#project = project;
    this.#signal = signal;
  }

  /** Of all that was looked at: a store that is put back to what it was before loses this one first. */
  get newest(): WrittenObject | undefined {
    return this.#newest;
  }

  /**
   * Notes that the object was put with that size, or that the store said so. Where there are many, those until now are looked
   * at: throws as `check`.
   */
  async add(ref: ObjectRef, sizeBytes: number): Promise<void> {
    if (ref.lease !== undefined) this.#batch.suffixed.set(chunkName(ref), { ref, sizeBytes });
    else {
      this.#batch.plain.add(ref.id);
      this.#batch.plain.mark(ref.id, sizeBytes);
    }
    if (countOf(this.#batch) >= MAX_REMEMBERED) await this.check();
  }

  /** Throws `StoreError` where one of the objects that were noted since the last check is not there as it was noted. */
  async check(): Promise<void> {
    const batch = this.#batch;
    this.#batch = newBatch();
    const expected = countOf(batch);
    const present = new PresentObjects(this.#project, { signal: this.#signal, expected, only: batch.plain });
    await forEachLimited(objectsOf(batch), QUESTIONS_AT_ONCE, async ({ ref, sizeBytes }) => {
      if (await present.sizeOf(ref) !== sizeBytes) await this.#askAgain(ref, sizeBytes);
    });
    this.#newest = later(this.#newest, present.newest);
  }

  /** Another host may have stored the same content since, compressed by another zstd: then its own header says that length. */
  async #isWholeOf(name: string, sizeBytes: number): Promise<boolean> {
    const bytes = await this.#project.get(name, { signal: this.#signal, range: HEADER_RANGE });
    try {
      const { frontBytes, contentBytes } = decodeHeader(bytes, {
        key: this.#project.objectKey(name),
        type: objectType(bytes),
      });
      return HEADER_BYTES + frontBytes + contentBytes === sizeBytes;
    } catch (error) {
      if (isUnreadable(error)) return false;
      throw error;
    }
  }

  /** One answer of three may be wrong: after one that says no, two must say yes. */
  async #askAgain(ref: ObjectRef, sizeBytes: number): Promise<void> {
    const name = chunkName(ref);
    for (let look = 0; look < 2; look++) {
      const info = await this.#project.head(name, { signal: this.#signal });
      if (info?.sizeBytes === sizeBytes) continue;
      if (info !== undefined && await this.#isWholeOf(name, info.sizeBytes)) continue;
      const state = info === undefined ? "does not have it" : `has ${info.sizeBytes} bytes instead`;
      throw new StoreError(
        `Cannot rely on "${this.#project.store.url}": it reported "${
          this.#project.objectKey(name)
        }" of ${sizeBytes} bytes but ${state}; retry`,
        { retryable: false },
      );
    }
  }
}

function newBatch(): Batch {
  return { plain: new IdSet(), suffixed: new Map() };
}

function countOf({ plain, suffixed }: Batch): number {
  return plain.size + suffixed.size;
}

function* objectsOf({ plain, suffixed }: Batch) {
  for (const id of plain.ids(true)) yield { ref: { id, lease: undefined }, sizeBytes: plain.markOf(id) };
  yield* suffixed.values();
}
