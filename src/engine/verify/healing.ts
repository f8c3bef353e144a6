/**
 * Healing one object: the right bytes go over the wrong ones, which needs no deletion, for objects are named by what they
 * hold. Before it the object is read again, since whoever stores the same content meanwhile heals it, too; and after it.
 */
import { type ObjectRef, parseChunkName } from "../../format/layout.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import type { Context } from "../../context.ts";
import type { Lease } from "../../project/sharing/lease.ts";
import type { Project } from "../../project/project.ts";
import { forEachLimited } from "../../util/task_limiter.ts";
import type { Finding, Need } from "./findings.ts";
import { isWhole } from "./look_again.ts";
import type { VerifiedChunks } from "./verified_chunks.ts";

interface HealingParts {
  project: Project;
  /** The same project in another repository. */
  other: Project | undefined;
  lease: Lease;
  resources: ChunkResources;
  verified: VerifiedChunks;
  findings: readonly Finding[];
  /** Keys of what was healed and read back before: what is damaged again will not stay whole, and is left. */
  healed: ReadonlySet<string>;
  needs: ReadonlyMap<string, Need>;
}

/** A finding about a chunk, patch or page. */
export interface OpenObject {
  finding: Finding;
  need: Need;
}

/** What one round of a repair has to heal, and what became of it. */
export class Healing {
  readonly parts: HealingParts;
  /** By key. */
  readonly open: Map<string, Finding>;
  /** Keys of what was written and read back. */
  readonly healed: string[] = [];
  /** Keys of what was whole when it was looked at again. */
  readonly recovered: string[] = [];
  /** Keys of what is marked as not to be used. */
  readonly marked: string[] = [];
  readonly #context: Context;
  readonly #busy = new Set<string>();

  constructor(parts: HealingParts, context: Context) {
    this.parts = parts;
    this.#context = context;
    this.open = new Map(parts.findings.map((finding) => [finding.key, finding]));
  }

  /** The chunks, patches and pages that are still to be healed. */
  objects(): OpenObject[] {
    return [...this.open.values()].flatMap((finding) => {
      const need = this.parts.needs.get(finding.key);
      return need === undefined ? [] : [{ finding, need }];
    });
  }

  /** Runs `work` for each of the objects, several at once. */
  async each(objects: readonly OpenObject[], work: (object: OpenObject) => Promise<void>): Promise<void> {
    await forEachLimited(objects, this.parts.resources.jobs, async (object) => {
      this.#context.signal.throwIfAborted();
      await work(object);
    });
  }

  /** Whether the object can be read by now, of whatever it needs on the way, too. */
  async isWhole(ref: ObjectRef): Promise<boolean> {
    const { project, resources } = this.parts;
    return await isWhole(project, { ref, resources }, this.#context);
  }

  /**
   * Has `write` store the object anew unless it is whole by now; whether it is whole in the end. `write` may find that it
   * cannot: then it says false.
   */
  async heal(key: string, write: (ref: ObjectRef) => Promise<boolean>): Promise<boolean> {
    if (!this.open.has(key) || this.#busy.has(key) || this.parts.healed.has(key)) return false;
    this.#busy.add(key);
    try {
      const ref = this.refOf(key);
      if (await this.isWhole(ref)) return this.#close(key, ref, this.recovered);
      if (!await write(ref)) return false;
      if (await this.isWhole(ref)) return this.#close(key, ref, this.healed);
      this.#context.log.warn({ key }, "the repaired object does not read back intact");
      return false;
    } finally {
      this.#busy.delete(key);
    }
  }

  /** Nothing is to be done for what turned out to be whole. */
  recover(key: string): void {
    this.#close(key, this.refOf(key), this.recovered);
  }

  refOf(key: string): ObjectRef {
    const ref = parseChunkName(this.parts.project.nameOf(key));
    if (ref === undefined) throw new Error(`${key} is not the key of a chunk`);
    return ref;
  }

  #close(key: string, { id, lease }: ObjectRef, list: string[]): true {
    this.open.delete(key);
    list.push(key);
    if (lease === undefined) this.parts.verified.add(id);
    return true;
  }
}
