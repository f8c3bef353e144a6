/**
 * Plans in the store. A plan is its shards, which condemn from the moment they are written; its head, last, which makes it
 * one that may be swept; and its end, an object of its own, once it was swept or never will be. docs/gc.md.
 */
import { isUnreadable, unlessUnreadable } from "../../errors.ts";
import {
  parsePlanName,
  planEndName,
  planHeadName,
  PLANS_PREFIX,
  type PlanShard,
  planShardName,
} from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import {
  decodeNames,
  decodePlanHead,
  encodeNames,
  encodePlanHead,
  type PlanHead,
} from "../../format/plan.ts";
import type { Context } from "../../context.ts";
import type { Lease } from "./lease.ts";
import type { Project } from "../project.ts";
import { mapOrdered } from "../../util/task_limiter.ts";

/** Heads read at once: each may name very many points. */
const READS_AT_ONCE = 4;
/** Keys removed by one request. */
const REMOVED_AT_ONCE = 1000;

/** What a plan's head says, with the points that its collector saw: names of manifests. */
export interface FullHead extends PlanHead {
  points: string[];
  /** When it was written, by the store's clock. */
  writtenMs: number;
}

/** A plan as it stands in the store. */
export interface StoredPlan {
  /** The id of the lease of the collector that makes it, in hex. */
  id: string;
  /** `absent` while the collector is at work, and where it died before it had written all shards. */
  head: FullHead | "absent" | "unreadable";
  shards: PlanShard[];
  /** When its end was written, by the store's clock; `undefined` where it has none. */
  endedMs: number | undefined;
}

/** Every plan of which there is anything. */
export async function listPlans(project: Project, context: Context): Promise<StoredPlan[]> {
  const plans = new Map<string, StoredPlan>();
  const heads = new Map<string, number>();
  for await (const { name, modifiedMs } of project.list(PLANS_PREFIX, { signal: context.signal })) {
    const parsed = parsePlanName(name);
    if (parsed === undefined) continue;
    const { plan: id, part } = parsed;
    const plan = plans.get(id) ?? { id, head: "absent", shards: [], endedMs: undefined };
    plans.set(id, plan);
    if (part === "head") heads.set(id, modifiedMs);
    else if (part === "end") plan.endedMs = modifiedMs;
    else plan.shards.push(part.shard);
  }
  const read = async ([id, writtenMs]: [string, number]) => {
    plans.get(id)!.head = await readHead(project, { plan: id, writtenMs }, context);
  };
  await Array.fromAsync(mapOrdered(heads, read, { limit: READS_AT_ONCE }));
  return [...plans.values()];
}

/** The head of a plan; `writtenMs` is what the listing says of it. */
export async function readHead(
  project: Project,
  { plan, writtenMs }: { plan: string; writtenMs: number },
  { signal }: Context,
): Promise<StoredPlan["head"]> {
  const object = { type: OBJECT_TYPE.planHead, name: planHeadName(plan) };
  try {
    const { bytes, content } = await project.read(object, { signal });
    const key = project.objectKey(object.name);
    const head = decodePlanHead(await project.front(bytes, object), key);
    return { ...head, points: decodeNames(content, key), writtenMs };
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return "unreadable";
  }
}

/** Makes a plan of the shards that the collector with this lease has written. */
export async function writeHead(
  project: Project,
  { lease, head, points }: { lease: Lease; head: PlanHead; points: Iterable<string> },
): Promise<void> {
  const name = planHeadName(lease.idHex);
  const object = {
    type: OBJECT_TYPE.planHead,
    name,
    front: encodePlanHead(head, project.objectKey(name)),
    content: encodeNames(points),
  };
  await lease.send((options) => project.write(object, { ...options, keys: project.firstKey }));
}

/** From now on nobody sweeps the plan; it goes on condemning until `removePlan`. */
export async function writeEnd(
  project: Project,
  { lease, plan }: { lease: Lease; plan: string },
): Promise<void> {
  const object = { type: OBJECT_TYPE.planEnd, name: planEndName(plan), content: new Uint8Array(0) };
  await lease.send((options) => project.write(object, { ...options, keys: project.firstKey }));
}

/**
 * The plaintext of a shard; `undefined` where it is gone or cannot be read: what it condemned is then found again, once
 * the plan is removed.
 */
export async function readShard(
  project: Project,
  { plan, shard }: { plan: string; shard: PlanShard },
  { signal }: Context,
): Promise<Uint8Array | undefined> {
  const object = { type: OBJECT_TYPE.planShard, name: planShardName(plan, shard) };
  return (await project.read(object, { signal }).catch(unlessUnreadable))?.content;
}

/** Removes all of a plan that nobody sweeps any more. Its end goes last: until then it is known as such. */
export async function removePlan(
  project: Project,
  { plan: { id, shards }, lease }: { plan: StoredPlan; lease: Lease },
): Promise<void> {
  const names = [...shards.map((shard) => planShardName(id, shard)), planHeadName(id)];
  const remove = async (names: string[]) =>
    (await lease.send((options) => project.delete(names, options))).length === 0;
  for (let at = 0; at < names.length; at += REMOVED_AT_ONCE) {
    if (!await remove(names.slice(at, at + REMOVED_AT_ONCE))) return;
  }
  await remove([planEndName(id)]);
}
