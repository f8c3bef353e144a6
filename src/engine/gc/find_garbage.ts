/** Finds the objects that no manifest refers to, and hands those that are old enough to the plan. docs/gc.md. */
import { chunkShardPrefix, type ObjectRef, parseChunkName } from "../../format/layout.ts";
import type { Context } from "../../context.ts";
import type { Project } from "../../project/project.ts";
import { forEachLimited } from "../../util/task_limiter.ts";
import type { CondemnedObjects } from "../../project/sharing/condemned.ts";
import type { GcReport } from "./gc_report.ts";
import type { PlanWriter } from "./plan_writer.ts";
import type { ReferenceSet } from "../../volume/references.ts";

/** Shards of the listing read at once. */
const SHARDS_AT_ONCE = 8;

interface Search {
  report: GcReport;
  /** Of the ids that are looked at, read before the objects are listed. */
  references: ReferenceSet;
  condemned: CondemnedObjects;
  /** What was written since, by the store's clock, is too young. */
  youngMs: number;
  writer: PlanWriter | undefined;
  /** Told how many shards of the listing were read. */
  onShard: (shards: number) => void;
}

/** Counts what there is in the report; without a writer that is all. */
export async function findGarbage(project: Project, search: Search, context: Context): Promise<void> {
  const { references, report, writer, onShard } = search;
  let shards = 0;
  await forEachLimited(references.firstBytes(), SHARDS_AT_ONCE, async (shard) => {
    const refs = await garbageOf(project, { ...search, shard }, context);
    report.condemned += refs.length;
    await writer?.add(shard, refs);
    onShard(++shards);
  });
}

/** What the plan condemns of one shard. */
async function garbageOf(
  project: Project,
  { report, references, condemned, youngMs, shard }: Search & { shard: number },
  context: Context,
): Promise<ObjectRef[]> {
  const garbage: ObjectRef[] = [];
  for await (const info of project.list(chunkShardPrefix(shard), { signal: context.signal })) {
    const ref = parseChunkName(info.name);
    if (ref === undefined) continue;
    report.objects++;
    report.objects_bytes += info.sizeBytes;
    if (references.has(ref)) continue;
    report.garbage++;
    report.garbage_bytes += info.sizeBytes;
    if (info.modifiedMs >= youngMs) report.young++;
    else if (!await condemned.has(ref)) garbage.push(ref);
  }
  return garbage;
}
