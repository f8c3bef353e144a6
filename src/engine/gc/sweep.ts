/**
 * Sweeping a plan: what it condemns and no manifest refers to is deleted. Only one sweep of a plan runs at a time, it is
 * announced like any work, and it ends itself when it could not refresh its announcement. docs/gc.md.
 */
import { hostname } from "node:os";
import { chunkName, type ObjectRef } from "../../format/layout.ts";
import { decodePlanShard } from "../../format/plan.ts";
import type { DeleteFailure } from "../../store/store.ts";
import type { Context } from "../context.ts";
import { readHead, readShard, removePlan, type StoredPlan } from "./gc_plan.ts";
import { Lease } from "./lease.ts";
import { livingLeases } from "./leases.ts";
import type { Project } from "../project.ts";
import { ALL_IDS, collectReferences, type ReferenceSet } from "./references.ts";
import { Window } from "../window.ts";

/** Keys in one request to delete; what S3 takes at most. */
const BATCH_KEYS = 1000;
/** Shards swept at once. */
const SHARDS_AT_ONCE = 4;

export interface SweepResult {
  /** Whether the plan was swept; otherwise somebody else does, or did. */
  swept: boolean;
  deleted: number;
  /** Condemned, but a manifest refers to it by now. */
  spared: number;
  /** The store refused to delete it. */
  refused: DeleteFailure[];
}

/** Sweeps a plan whose wait-set has ended. Throws where manifests cannot be read: then nothing is deleted. */
export async function sweep(
  project: Project,
  { plan, maxIds }: { plan: StoredPlan; maxIds: number },
  context: Context,
): Promise<SweepResult> {
  const result: SweepResult = { swept: false, deleted: 0, spared: 0, refused: [] };
  const announcement = { work: "sweep" as const, volume: plan.id, host: hostname(), key: project.firstKey };
  const lease = await Lease.begin(project, announcement, context);
  try {
    if (!await isAlone(project, { plan, lease }, context)) return result;
    for (let from = 0; from < ALL_IDS.to;) {
      using references = await collectReferences(
        project,
        { range: { from, to: ALL_IDS.to }, maxIds },
        context,
      );
      const shards = plan.shards.filter((shard) => shard >= from && shard < references.to);
      await sweepShards(project, { plan, lease, references, shards, result }, context);
      from = references.to;
    }
    // What is still under way must not find what a backup stored anew: until it has arrived the plan condemns.
    if (!lease.isSettled) return result;
    lease.checkTrust();
    await removePlan(project, plan, context);
    result.swept = true;
    return result;
  } finally {
    await lease.end();
  }
}

/**
 * After the announcement was written: no other sweep of the plan is announced, by a lease that can be read or not, and the
 * plan is still there. Two that
 * begin at the same time may both give way; neither can miss the other.
 */
async function isAlone(
  project: Project,
  { plan, lease }: { plan: StoredPlan; lease: Lease },
  context: Context,
) {
  const others = (await livingLeases(project, context)).filter(({ work, volume, id }) =>
    (work === "unknown" || (work === "sweep" && volume === plan.id)) && id !== lease.idHex
  );
  return others.length === 0 && await readHead(project, plan.id, context) !== undefined;
}

interface ShardWork {
  plan: StoredPlan;
  lease: Lease;
  references: ReferenceSet;
  shards: number[];
  result: SweepResult;
}

async function sweepShards(project: Project, work: ShardWork, context: Context): Promise<void> {
  const window = new Window(SHARDS_AT_ONCE);
  try {
    for (const shard of work.shards) await window.add(() => sweepShard(project, { ...work, shard }, context));
    await window.drain();
  } finally {
    await window.settle();
  }
}

async function sweepShard(
  project: Project,
  work: ShardWork & { shard: number },
  context: Context,
): Promise<void> {
  const content = await readShard(project, { plan: work.plan.id, shard: work.shard }, context);
  if (content === undefined) return; // what it condemned stays, and is found again once the plan is gone
  let batch: ObjectRef[] = [];
  const flush = async () => {
    await deleteBatch(project, { batch, lease: work.lease, result: work.result }, context);
    batch = [];
  };
  for (const ref of decodePlanShard(content)) {
    if (work.references.has(ref)) work.result.spared++;
    else if (batch.push(ref) === BATCH_KEYS) await flush();
  }
  await flush();
}

async function deleteBatch(
  project: Project,
  { batch, lease, result }: { batch: ObjectRef[]; lease: Lease; result: SweepResult },
  context: Context,
): Promise<void> {
  if (batch.length === 0) return;
  context.signal.throwIfAborted();
  const keys = batch.map((ref) => project.key(chunkName(ref)));
  const left = await lease.send((options) => project.store.delete(keys, options));
  result.deleted += keys.length - left.length;
  result.refused.push(...left);
}
