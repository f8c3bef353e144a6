/** Plans in the store: a head that says what the plan waits for, and a shard for each first byte of an id. docs/gc.md. */
import { DamageError, MissingError } from "../../errors.ts";
import { fromUtf8, utf8 } from "../../format/bytes.ts";
import {
  type ObjectRef,
  parsePlanShardName,
  planHeadName,
  PLANS_PREFIX,
  planShardName,
} from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import { encodePlanShard } from "../../format/plan.ts";
import type { Context } from "../context.ts";
import type { Lease } from "./lease.ts";
import type { Project } from "../project.ts";

/** Written once all shards are. */
export interface PlanHead {
  /** The leases, in hex, that must have ended before the plan may be swept. */
  waits: string[];
}

/** A plan as it stands in the store. */
export interface StoredPlan {
  /** The id of the lease of the collector that makes it, in hex. */
  id: string;
  /** Without one, its collector died before it had written all shards: the plan condemns, and can be completed. */
  head: PlanHead | undefined;
  shards: number[];
}

/** Every plan of which there is anything. */
export async function listPlans(project: Project, context: Context): Promise<StoredPlan[]> {
  const plans = new Map<string, StoredPlan>();
  const planOf = (id: string) => {
    const plan = plans.get(id) ?? { id, head: undefined, shards: [] };
    plans.set(id, plan);
    return plan;
  };
  for await (const { name } of project.list(PLANS_PREFIX, { signal: context.signal })) {
    const shard = parsePlanShardName(name);
    if (shard !== undefined) planOf(shard.plan).shards.push(shard.shard);
    else if (name.endsWith("/head")) {
      const id = name.slice(PLANS_PREFIX.length, -"/head".length);
      planOf(id).head = await readHead(project, id, context);
    }
  }
  return [...plans.values()];
}

/** `undefined` where the plan was swept meanwhile, or the head cannot be read: it is then made anew, as a missing one. */
export async function readHead(
  project: Project,
  plan: string,
  { signal }: Context,
): Promise<PlanHead | undefined> {
  const object = { type: OBJECT_TYPE.planHead, name: planHeadName(plan) };
  const found = await ifReadable(project.read(object, { signal }));
  return found && decodeHead(found.content);
}

function decodeHead(content: Uint8Array): PlanHead | undefined {
  try {
    const head = JSON.parse(fromUtf8(content) ?? "") as Partial<PlanHead> | null;
    const isHead = Array.isArray(head?.waits) && head.waits.every((id) => typeof id === "string");
    return isHead ? head as PlanHead : undefined;
  } catch {
    return undefined;
  }
}

/** Plans are helpful, not precious: one that is damaged must not keep a project from being backed up or collected. */
async function ifReadable<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof MissingError || error instanceof DamageError) return undefined;
    throw error;
  }
}

export async function writeHead(
  project: Project,
  plan: string,
  { head, context }: { head: PlanHead; context: Context },
) {
  const object = {
    type: OBJECT_TYPE.planHead,
    name: planHeadName(plan),
    content: utf8(JSON.stringify(head)),
  };
  await project.write(object, { key: project.firstKey, signal: context.signal });
}

/** Adds a shard to the plan of the collector with this lease. */
export async function writeShard(
  project: Project,
  { lease, shard, refs }: { lease: Lease; shard: number; refs: ObjectRef[] },
): Promise<void> {
  const object = {
    type: OBJECT_TYPE.planShard,
    name: planShardName(lease.idHex, shard),
    content: encodePlanShard(refs),
  };
  await lease.send((options) => project.write(object, { ...options, key: project.firstKey }));
}

/** The plaintext of a shard; `undefined` where it is gone, all that it condemned was swept then, or cannot be read. */
export async function readShard(
  project: Project,
  { plan, shard }: { plan: string; shard: number },
  { signal }: Context,
): Promise<Uint8Array | undefined> {
  const object = { type: OBJECT_TYPE.planShard, name: planShardName(plan, shard) };
  return await ifReadable(project.read(object, { signal }).then(({ content }) => content));
}

/** Removes what is left of a plan, the head last: until then another collector can take it up again. */
export async function removePlan(
  project: Project,
  { id, shards }: StoredPlan,
  { signal }: Context,
): Promise<void> {
  const keys = shards.map((shard) => project.key(planShardName(id, shard)));
  const left = await project.store.delete(keys, { signal });
  if (left.length === 0) await project.store.delete([project.key(planHeadName(id))], { signal });
}
