/**
 * What the gc plans of a project condemn, as a backup sees it: listed once after its lease was written, shards read when
 * a chunk of theirs is asked about. docs/gc.md.
 */
import { DamageError, MissingError } from "../../errors.ts";
import { type ObjectRef, parsePlanShardName, PLANS_PREFIX } from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import { shardHas } from "../../format/plan.ts";
import type { Context } from "../context.ts";
import type { Project } from "../project.ts";

/** Shards kept in memory: at 3 million condemned chunks one has about 560 KiB. */
const MAX_SHARDS = 32;

export class Condemned {
  readonly #project: Project;
  readonly #context: Context;
  /** By first byte of the id. */
  readonly #names: Map<number, string[]>;
  readonly #shards = new Map<number, Promise<(Uint8Array | undefined)[]>>();

  private constructor(project: Project, names: Map<number, string[]>, context: Context) {
    this.#project = project;
    this.#names = names;
    this.#context = context;
  }

  static async read(project: Project, context: Context): Promise<Condemned> {
    const names = new Map<number, string[]>();
    for await (const { name } of project.list(PLANS_PREFIX, { signal: context.signal })) {
      const shard = parsePlanShardName(name)?.shard;
      if (shard !== undefined) names.set(shard, [...names.get(shard) ?? [], name]);
    }
    return new Condemned(project, names, context);
  }

  /** No plan condemns anything. */
  get none(): boolean {
    return this.#names.size === 0;
  }

  /** Whether a plan condemns one of the objects; its key then counts as absent and must not be referred to. */
  async has(...refs: ObjectRef[]): Promise<boolean> {
    for (const ref of refs) {
      const shard = ref.id[0]!;
      if (!this.#names.has(shard)) continue;
      const plans = await this.#load(shard);
      if (plans.some((bytes) => bytes === undefined || shardHas(bytes, ref))) return true;
    }
    return false;
  }

  #load(shard: number): Promise<(Uint8Array | undefined)[]> {
    const loaded = this.#shards.get(shard) ??
      Promise.all(this.#names.get(shard)!.map((name) => this.#readShard(name)));
    this.#shards.delete(shard);
    this.#shards.set(shard, loaded);
    if (this.#shards.size > MAX_SHARDS) this.#shards.delete(this.#shards.keys().next().value!);
    return loaded;
  }

  /**
   * `undefined` where the plan was swept since it was listed, or the shard cannot be read: all that it may have condemned
   * counts as condemned.
   */
  async #readShard(name: string): Promise<Uint8Array | undefined> {
    try {
      return (await this.#project.read({ type: OBJECT_TYPE.planShard, name }, this.#context)).content;
    } catch (error) {
      if (error instanceof MissingError || error instanceof DamageError) return undefined;
      throw error;
    }
  }
}
