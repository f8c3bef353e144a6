/**
 * Garbage collection without locks: bury dead leases, sweep the plans that nobody waits for any more, plan what no
 * manifest refers to, and sweep that too if nothing is running. docs/gc.md says why each step is where it is.
 */
import { hostname } from "node:os";
import type { Secret } from "../../codec/keys.ts";
import { chunkShardPrefix, type ObjectRef, parseChunkName } from "../../format/layout.ts";
import { Condemned } from "./condemned.ts";
import type { Context } from "../context.ts";
import { listPlans, type StoredPlan, writeHead, writeShard } from "./gc_plan.ts";
import { Lease } from "./lease.ts";
import { buryLeases, livingLeases, type SeenLease } from "./leases.ts";
import { openProject, type Project } from "../project.ts";
import { ALL_IDS, collectReferences, MAX_IDS, type ReferenceSet } from "./references.ts";
import type { Repository } from "../repository.ts";
import { sweep, type SweepResult } from "./sweep.ts";
import { Window } from "../window.ts";

/** Shards of the listing read at once. */
const SHARDS_AT_ONCE = 8;

export interface GcOptions {
  project: string;
  secret: Secret;
  dryRun: boolean;
  /** Ids held in memory at once. */
  maxIds?: number | undefined;
}

/** The JSON of `varve gc`. */
export interface GcReport {
  project: string;
  /** Objects that are there, and those among them that no manifest refers to. */
  objects: number;
  objects_bytes: number;
  garbage: number;
  garbage_bytes: number;
  /** Of the garbage: too young to be planned while other work runs. */
  young: number;
  plans_swept: number;
  /** Plans that wait for running work: a later gc sweeps them. */
  plans_waiting: number;
  deleted: number;
  /** Condemned by an earlier plan, and referred to again. */
  spared: number;
  refused: { key: string; reason: string }[];
  dead_leases: number;
  /** Leases that cannot be read. What runs under them is not known, so nothing is swept until they are a day old. */
  unreadable_leases: number;
  duration_s: number;
}

/** Collects the garbage of one project; other hosts keep backing up and restoring meanwhile. */
export async function gc(repository: Repository, options: GcOptions, context: Context): Promise<GcReport> {
  const startedMs = context.clock.now();
  const { project: name, secret, maxIds = MAX_IDS } = options;
  const project = await openProject(repository, { name, secret, create: false }, context);
  const lease = await Lease.begin(project, {
    work: "gc",
    volume: name,
    host: hostname(),
    key: project.firstKey,
  }, context);
  const report = emptyReport(name);
  try {
    const nowMs = await lease.seenMs(context.signal);
    if (!options.dryRun) report.dead_leases = (await buryLeases(project, nowMs, context)).length;
    report.unreadable_leases = await countUnreadable(project, context);
    if (!options.dryRun) await sweepReady(project, { maxIds, report, lease }, context);
    await makePlan(project, { maxIds, report, lease, dryRun: options.dryRun, nowMs }, context);
    if (!options.dryRun) await sweepReady(project, { maxIds, report, lease }, context);
    report.plans_waiting = (await listPlans(project, context)).length;
  } finally {
    await lease.end();
  }
  report.duration_s = (context.clock.now() - startedMs) / 1000;
  return report;
}

function emptyReport(project: string): GcReport {
  return {
    project,
    objects: 0,
    objects_bytes: 0,
    garbage: 0,
    garbage_bytes: 0,
    young: 0,
    plans_swept: 0,
    plans_waiting: 0,
    deleted: 0,
    spared: 0,
    refused: [],
    dead_leases: 0,
    unreadable_leases: 0,
    duration_s: 0,
  };
}

/** Says each of them. */
async function countUnreadable(project: Project, context: Context): Promise<number> {
  const unreadable = (await livingLeases(project, context)).filter(({ work }) => work === "unknown");
  for (const { id, problem } of unreadable) {
    context.log.warn(
      { lease: id, reason: problem },
      "a lease cannot be read; whatever it announces counts as running until the lease is a day old",
    );
  }
  return unreadable.length;
}

interface Pass {
  maxIds: number;
  report: GcReport;
  lease: Lease;
}

/** Completes plans whose collector died before it had listed the leases, and sweeps those that wait for nothing more. */
async function sweepReady(project: Project, pass: Pass, context: Context): Promise<void> {
  const { maxIds, report } = pass;
  for (const plan of await listPlans(project, context)) {
    if (await isInTheMaking(project, plan, { pass, context })) continue;
    const waits = plan.head?.waits ?? await fixWaits(project, plan.id, context);
    const living = new Set((await livingLeases(project, context)).map(({ id }) => id));
    if (waits.some((id) => living.has(id))) continue;
    addResult(report, await sweep(project, { plan, maxIds }, context));
  }
}

/**
 * A plan has the id of its collector's lease: while that lives, shards may arrive that no wait-set knows of. Of his own
 * the collector knows whether all have arrived.
 */
async function isInTheMaking(
  project: Project,
  { id, head }: StoredPlan,
  { pass: { lease }, context }: { pass: Pass; context: Context },
): Promise<boolean> {
  if (id === lease.idHex) return head === undefined || !lease.isSettled;
  return (await livingLeases(project, context)).some((lease) => lease.id === id);
}

/** What a plan has to wait for: all work that may have begun before it could see the plan. */
async function fixWaits(project: Project, plan: string, context: Context): Promise<string[]> {
  const waits = (await livingLeases(project, context)).filter(mayReferToChunks).map(({ id }) => id);
  await writeHead(project, plan, { head: { waits }, context });
  return waits;
}

/** A collector deletes and never refers to anything. */
function mayReferToChunks({ work }: SeenLease): boolean {
  return work !== "gc" && work !== "sweep";
}

function addResult(report: GcReport, result: SweepResult): void {
  if (result.swept) report.plans_swept++;
  report.deleted += result.deleted;
  report.spared += result.spared;
  report.refused.push(...result.refused.map(({ key, reason }) => ({ key, reason })));
}

/** The manifests are read first, then the objects listed: what a backup adds in between is young, or swept by nobody. */
async function makePlan(
  project: Project,
  { maxIds, report, lease, dryRun, nowMs }: Pass & { dryRun: boolean; nowMs: number },
  context: Context,
): Promise<void> {
  let shards = 0;
  const condemned = await Condemned.read(project, context);
  const youngMs = await oldestStart(project, nowMs, context);
  for (let from = 0; from < ALL_IDS.to;) {
    using references = await collectReferences(project, { range: { from, to: ALL_IDS.to }, maxIds }, context);
    const window = new Window(SHARDS_AT_ONCE);
    try {
      for (let shard = from; shard < references.to; shard++) {
        await window.add(async () => {
          const refs = await findGarbage(project, { shard, references, condemned, youngMs, report }, context);
          if (refs.length === 0 || dryRun) return;
          await writeShard(project, { lease, shard, refs });
          shards++;
        });
      }
      await window.drain();
    } finally {
      await window.settle();
    }
    from = references.to;
  }
  if (shards === 0) return;
  lease.checkTrust();
  await fixWaits(project, lease.idHex, context);
}

/** Since when, by the store's clock, objects may belong to work that still runs. Thrift, not safety: see docs/gc.md. */
async function oldestStart(project: Project, nowMs: number, context: Context): Promise<number> {
  const starts = (await livingLeases(project, context)).filter(mayReferToChunks)
    .map(({ started_ms, refreshedMs }) => started_ms ?? refreshedMs);
  return Math.min(nowMs, ...starts);
}

interface Search {
  shard: number;
  references: ReferenceSet;
  condemned: Condemned;
  youngMs: number;
  report: GcReport;
}

async function findGarbage(project: Project, search: Search, context: Context): Promise<ObjectRef[]> {
  const { references, condemned, youngMs, report } = search;
  const garbage: ObjectRef[] = [];
  for await (const info of project.list(chunkShardPrefix(search.shard), { signal: context.signal })) {
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
