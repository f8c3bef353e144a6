/**
 * Which objects the project has, as far as a run knows: those that it has put, and those that the store said in this run to
 * have. All of them are looked at once more before a manifest names them.
 */
import type { Context } from "../context.ts";
import type { ChunkLocation } from "../format/entries.ts";
import type { ObjectRef } from "../format/layout.ts";
import type { Project } from "../project/project.ts";
import type { QuarantinedObjects } from "../project/sharing/quarantine.ts";
import { IdSet } from "./id_set.ts";
import type { SizeRange } from "./object_sizes.ts";
import { PresentObjects, type WrittenObject } from "./present_objects.ts";
import { StoredObjects } from "./stored_objects.ts";

/** Chunks remembered as present, about 70 bytes each; beyond it the store is asked again. */
const MAX_REMEMBERED = 50_000;

export interface KnownObjectsOptions {
  project: Project;
  marked: QuarantinedObjects;
  /** The project held no chunk when the run began: none has to be looked for. */
  projectIsEmpty?: boolean;
}

export class KnownObjects {
  readonly #marked: QuarantinedObjects;
  readonly #present: PresentObjects;
  readonly #stored: StoredObjects;
  /** Ids of whole chunks that this run has put or found under their plain keys. */
  #seen = new IdSet();
  /** The project holds what this run has stored, and no more. */
  #knowsEveryChunk: boolean;

  constructor({ project, marked, projectIsEmpty = false }: KnownObjectsOptions, context: Context) {
    this.#marked = marked;
    this.#knowsEveryChunk = projectIsEmpty;
    this.#present = new PresentObjects(project, context);
    this.#stored = new StoredObjects(project, context);
  }

  /** What was written last of the objects that were put or found, once `check` has looked at it. */
  get newest(): WrittenObject | undefined {
    return this.#stored.newest;
  }

  /** Asks the store for all of them once more. Throws `StoreError` if one is not there after all. */
  async check(): Promise<void> {
    await this.#stored.check();
  }

  /** Whether this run has put the whole chunk under its plain key, or the store said in this run that it is there. */
  hasSeen(ref: ObjectRef): boolean {
    return ref.lease === undefined && this.#seen.has(ref.id);
  }

  /** Whether the store says in this run that it has the object, in a size that it can have. A damaged object counts as absent. */
  async has(ref: ObjectRef, { least, most }: SizeRange): Promise<boolean> {
    if (this.hasSeen(ref)) return true;
    if (this.#knowsEveryChunk || this.#marked.has(ref)) return false;
    const sizeBytes = await this.#present.sizeOf(ref);
    if (sizeBytes === undefined || sizeBytes < least || sizeBytes > most) return false;
    await this.#stored.add(ref, sizeBytes);
    return true;
  }

  /** Notes an object of that size that was just put. */
  async add(ref: ObjectRef, sizeBytes: number): Promise<void> {
    await this.#stored.add(ref, sizeBytes);
  }

  /** Remembers a chunk that was put or found. Patches and suffixed keys are few, and asked for again. */
  remember({ object, base }: ChunkLocation): void {
    if (object.lease !== undefined || base !== undefined) return;
    if (this.#seen.size === MAX_REMEMBERED) {
      this.#seen = new IdSet();
      this.#knowsEveryChunk = false;
    }
    this.#seen.add(object.id);
  }
}
