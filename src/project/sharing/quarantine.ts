/**
 * Marks: small objects `marked/<name below chunks/>`, each of which says that a chunk, patch or page was found missing or
 * damaged and is not to be used. A backup takes it for absent and writes over it. Whoever reads it whole removes the mark.
 */
import { describeError, StoreError } from "../../errors.ts";
import { utf8 } from "../../util/bytes.ts";
import { chunkName, MARKED_PREFIX, markName, type ObjectRef, parseMarkName } from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import type { Context } from "../../context.ts";
import { listTwice } from "../list_twice.ts";
import type { Project } from "../project.ts";

/** `unavailable`: the store has it, and does not give it. */
export type FindingKind = "missing" | "damaged" | "unavailable";

/** What a mark's object holds. */
interface QuarantineRecord {
  found: FindingKind;
  reason: string;
  /** Where the repair ran, or the backup whose write went wrong. */
  host: string;
  /** When the repair began, by the store's clock, or the write failed, by the host's: ISO 8601, UTC. */
  at: string;
}

/** Which chunks, patches and pages of a project are marked. */
export class QuarantinedObjects {
  readonly #refs: ReadonlyMap<string, ObjectRef>;

  private constructor(refs: ReadonlyMap<string, ObjectRef>) {
    this.#refs = refs;
  }

  /** By two listings: whatever has a mark's name is a mark, so that damage to one never brings an object back into use. */
  static async read(project: Project, { signal }: Pick<Context, "signal">): Promise<QuarantinedObjects> {
    const refs = new Map<string, ObjectRef>();
    for (const { name } of await listTwice(project, MARKED_PREFIX, { signal })) {
      const ref = parseMarkName(name);
      if (ref !== undefined) refs.set(chunkName(ref), ref);
    }
    return new QuarantinedObjects(refs);
  }

  /** Nothing is marked. */
  get none(): boolean {
    return this.size === 0;
  }

  get size(): number {
    return this.#refs.size;
  }

  has(ref: ObjectRef): boolean {
    return !this.none && this.#refs.has(chunkName(ref));
  }

  refs(): Iterable<ObjectRef> {
    return this.#refs.values();
  }
}

export async function quarantine(
  project: Project,
  { ref, ...about }: Omit<QuarantineRecord, "host"> & { ref: ObjectRef },
  { signal, host }: Context,
): Promise<void> {
  const content: QuarantineRecord = { ...about, host };
  const object = { type: OBJECT_TYPE.mark, name: markName(ref), content: utf8(JSON.stringify(content)) };
  await project.write(object, { signal, keys: project.firstKey });
}

/**
 * Removes the marks of objects that were read whole; how many are gone. Where that is refused the marks stay, and cost an
 * upload more, nothing else.
 */
export async function releaseQuarantined(
  project: Project,
  refs: readonly ObjectRef[],
  { signal, log }: Context,
): Promise<number> {
  if (refs.length === 0) return 0;
  try {
    const left = await project.delete(refs.map(markName), { signal });
    return refs.length - left.length;
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    log.debug({ reason: describeError(error) }, "could not end the quarantine of repaired objects");
    return 0;
  }
}
