/**
 * Objects that were found damaged or missing, as `damaged/<name below chunks/>`: the damaged bytes, kept for study, or
 * nothing where the object was gone. A backup does not take such a chunk for present because an earlier backup had it.
 */
import { chunkName, CHUNKS_PREFIX, DAMAGED_PREFIX, type ObjectRef } from "../../format/layout.ts";
import type { Context } from "../context.ts";
import type { Project } from "../project.ts";

/** The names of the chunks that were set aside. */
export class SetAside {
  readonly #names: ReadonlySet<string>;

  private constructor(names: ReadonlySet<string>) {
    this.#names = names;
  }

  static async read(project: Project, { signal }: Context): Promise<SetAside> {
    const names = new Set<string>();
    for await (const { name } of project.list(DAMAGED_PREFIX, { signal })) {
      names.add(CHUNKS_PREFIX + name.slice(DAMAGED_PREFIX.length));
    }
    return new SetAside(names);
  }

  /** Nothing is set aside. */
  get none(): boolean {
    return this.#names.size === 0;
  }

  has(ref: ObjectRef): boolean {
    return !this.none && this.#names.has(chunkName(ref));
  }
}

/** Where a chunk or page of that name is set aside. */
export function asideName(name: string): string {
  return DAMAGED_PREFIX + name.slice(CHUNKS_PREFIX.length);
}
