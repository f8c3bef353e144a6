/**
 * What the gc plans of a project condemn, as a backup sees it: listed after its lease was written, shards read when a
 * chunk of theirs is asked about, and listed again before its manifest is written. docs/gc.md.
 */
import { VarveError } from "../../errors.ts";
import {
  manifestName,
  type ObjectRef,
  parsePlanName,
  PLANS_PREFIX,
  type PlanShard,
  planShardName,
} from "../../format/layout.ts";
import type { ManifestInfo } from "../../format/manifest.ts";
import { shardHas } from "../../format/plan.ts";
import type { Context } from "../../context.ts";
import type { Lease } from "./lease.ts";
import { type FullHead, readHead, readShard } from "./plans.ts";
import type { Project } from "../project.ts";

/** Bytes of shards kept in memory. */
const MAX_KEPT_BYTES = 24 * 1024 * 1024;

interface ListedPlan {
  shards: Set<PlanShard>;
  /** When its head was written, by the store's clock; `undefined` while it has none. */
  headMs: number | undefined;
  /** Nobody sweeps it any more. */
  isEnded: boolean;
}

type Plans = ReadonlyMap<string, ListedPlan>;

/** A shard's plaintext; `undefined` where it cannot be read: all that it may condemn counts as condemned. */
type Shard = Uint8Array | undefined;

export class CondemnedObjects {
  readonly #project: Project;
  readonly #context: Context;
  readonly #plans: Plans;
  /** By plan and shard. */
  readonly #kept: Map<string, Promise<Shard>>;
  #keptBytes = 0;

  private constructor(project: Project, plans: Plans, context: Context) {
    this.#project = project;
    this.#plans = plans;
    this.#context = context;
    this.#kept = new Map();
  }

  static async read(project: Project, context: Context): Promise<CondemnedObjects> {
    return new CondemnedObjects(project, await list(project, context), context);
  }

  /** Whether a plan condemns one of the objects; its key then counts as absent and must not be referred to. */
  async has(...refs: ObjectRef[]): Promise<boolean> {
    for (const ref of refs) {
      for (const [id, { shards }] of this.#plans) {
        for (const shard of ["all", ref.id[0]!] as const) {
          if (shards.has(shard) && await this.#condemns({ plan: id, shard }, ref)) return true;
        }
      }
    }
    return false;
  }

  /**
   * Of the plans those that may condemn what this point refers to, or `undefined` where there is none. None of them are a
   * plan that was there when the point's backup began, which used none of its keys, and one whose head names the point, so
   * that its collector saw what it refers to.
   */
  async against(info: ManifestInfo): Promise<CondemnedObjects | undefined> {
    const plans = new Map<string, ListedPlan>();
    const name = manifestName(info.volume, info.backup);
    for (const [id, plan] of this.#plans) {
      if (plan.shards.size === 0) continue;
      if (plan.headMs !== undefined && (info.lease_ms ?? 0) > plan.headMs) continue;
      if (plan.headMs !== undefined && (await this.#head(id))?.points.includes(name)) continue;
      plans.set(id, plan);
    }
    return plans.size === 0 ? undefined : new CondemnedObjects(this.#project, plans, this.#context);
  }

  /**
   * Looks once more, before the manifest: a plan that the first listing did not tell must wait for this run's lease, or
   * still be in the making, when it is going to. Throws `conflict` where one does not.
   */
  async assertUnseen(lease: Lease): Promise<void> {
    for (const [id, plan] of await list(this.#project, this.#context)) {
      const seen = this.#plans.get(id)?.shards;
      if ([...plan.shards].every((shard) => seen?.has(shard))) continue;
      if (plan.headMs === undefined && !plan.isEnded) continue;
      if ((await this.#head(id))?.waits.includes(lease.idHex)) continue;
      throw new VarveError(
        "conflict",
        `Cannot finish the restore point in "${this.#project.name}": a gc that this run did not see when it started may ` +
          `delete its objects; retry`,
      );
    }
  }

  /** `undefined` where it cannot be read. */
  async #head(plan: string): Promise<FullHead | undefined> {
    const head = await readHead(this.#project, { plan, writtenMs: 0 }, this.#context);
    return typeof head === "object" ? head : undefined;
  }

  async #condemns(at: { plan: string; shard: PlanShard }, ref: ObjectRef): Promise<boolean> {
    const bytes = await this.#load(at);
    return bytes === undefined || shardHas(bytes, ref);
  }

  /** The least recently used go where there are too many. */
  #load(at: { plan: string; shard: PlanShard }): Promise<Shard> {
    const name = planShardName(at.plan, at.shard);
    const known = this.#kept.get(name);
    this.#kept.delete(name);
    const loaded = known ?? readShard(this.#project, at, this.#context);
    this.#kept.set(name, loaded);
    if (known === undefined) void loaded.then((bytes) => this.#keep(bytes), () => this.#kept.delete(name));
    return loaded;
  }

  async #keep(bytes: Shard): Promise<void> {
    this.#keptBytes += bytes?.length ?? 0;
    while (this.#keptBytes > MAX_KEPT_BYTES && this.#kept.size > 1) {
      const [name, oldest] = this.#kept.entries().next().value!;
      this.#kept.delete(name);
      this.#keptBytes -= (await oldest.catch(() => undefined))?.length ?? 0;
    }
  }
}

async function list(project: Project, { signal }: Context): Promise<Plans> {
  const plans = new Map<string, ListedPlan>();
  for await (const { name, modifiedMs } of project.list(PLANS_PREFIX, { signal })) {
    const parsed = parsePlanName(name);
    if (parsed === undefined) continue;
    const { plan: id, part } = parsed;
    const plan = plans.get(id) ?? { shards: new Set<PlanShard>(), headMs: undefined, isEnded: false };
    plans.set(id, plan);
    if (part === "head") plan.headMs = modifiedMs;
    else if (part === "end") plan.isEnded = true;
    else plan.shards.add(part.shard);
  }
  return plans;
}
