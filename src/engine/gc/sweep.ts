/**
 * Sweeping a plan: what it condemns and no manifest refers to is deleted, in batches under the collector's lease. Several
 * may sweep one plan, and late: what it condemns nobody uses. docs/gc.md.
 */
import { chunkName, type ObjectRef } from "../../format/layout.ts";
import { decodePlanShard } from "../../format/plan.ts";
import type { DeleteFailure } from "../../store/store.ts";
import type { Context } from "../../context.ts";
import type { Lease } from "../../project/sharing/lease.ts";
import { readShard, type StoredPlan } from "../../project/sharing/plans.ts";
import type { Project } from "../../project/project.ts";
import type { ReferenceSet } from "../../volume/references.ts";
import { forEachLimited } from "../../util/task_limiter.ts";

/** Keys in one request to delete; what S3 takes at most. */
const BATCH_KEYS = 1000;
/** Shards swept at once. */
const SHARDS_AT_ONCE = 4;

interface Swept {
  deleted: number;
  /** Condemned, but a manifest refers to it by now. */
  spared: number;
  /** The store would not delete it. */
  refused: DeleteFailure[];
}

interface Sweep {
  plan: StoredPlan;
  lease: Lease;
  /** What the manifests refer to, read after the plan's wait-set has ended. */
  references: ReferenceSet;
}

/** Deletes what the plan condemns of the ids that the references cover. */
export async function sweep(project: Project, work: Sweep, context: Context): Promise<Swept> {
  const { plan, references } = work;
  const swept: Swept = { deleted: 0, spared: 0, refused: [] };
  const covered = plan.shards.filter((shard) => shard === "all" || references.covers(shard));
  await forEachLimited(covered, SHARDS_AT_ONCE, async (shard) => {
    const content = await readShard(project, { plan: plan.id, shard }, context);
    if (content === undefined) return; // what it condemned is found again once the plan is gone
    await sweepShard(project, { ...work, content, swept }, context);
  });
  return swept;
}

async function sweepShard(
  project: Project,
  { content, references, lease, swept }: Sweep & { content: Uint8Array; swept: Swept },
  context: Context,
): Promise<void> {
  let batch: ObjectRef[] = [];
  const flush = async () => {
    if (batch.length === 0) return;
    context.signal.throwIfAborted();
    const names = batch.map(chunkName);
    batch = [];
    const left = await lease.send((options) => project.delete(names, options));
    swept.deleted += names.length - left.length;
    swept.refused.push(...left);
  };
  for (const ref of decodePlanShard(content)) {
    if (!references.covers(ref.id[0]!)) continue;
    if (references.has(ref)) swept.spared++;
    else if (batch.push(ref) === BATCH_KEYS) await flush();
  }
  await flush();
}
