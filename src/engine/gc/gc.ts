/**
 * Garbage collection without locks: sweep the plans whose time has come, by what manifests refer to now, and plan what none
 * refers to, for a later run. docs/gc.md says why each step is where it is.
 */
import type { Secret } from "../../codec/keys.ts";
import { LEASES_PREFIX, VOLUMES_PREFIX } from "../../format/layout.ts";
import { VarveError } from "../../errors.ts";
import { counted } from "../../util/counted.ts";
import { CondemnedObjects } from "../../project/sharing/condemned.ts";
import type { Context } from "../../context.ts";
import { findGarbage } from "./find_garbage.ts";
import { emptyReport, type GcReport, mistake } from "./gc_report.ts";
import type { Lease } from "../../project/sharing/lease.ts";
import {
  buryLeases,
  type LeaseSurvey,
  mayReferToChunks,
  oldestStart,
  type SeenLease,
  surveyLeases,
} from "../../project/sharing/leases.ts";
import { withLease } from "../../project/sharing/with_lease.ts";
import { PlanWriter } from "./plan_writer.ts";
import {
  type FullHead,
  listPlans,
  type StoredPlan,
  writeEnd,
  writeHead,
} from "../../project/sharing/plans.ts";
import { assertPoints, dropRecords, newestHead } from "../../project/sharing/plan_points.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import { ALL_IDS, collectReferences, MAX_IDS, type ReferenceSet } from "../../volume/references.ts";
import type { Repository } from "../../project/repository.ts";
import { refillReserve, spendingReserve } from "../../project/reserve.ts";
import { forgottenRecords, readForgotten } from "../../project/forgotten.ts";
import { findMissed, readablePoints } from "../../project/seen_points.ts";
import { type ReadyPlan, settlePlans, waitingPlan, waitOf } from "./settle_plans.ts";
import { sweep } from "./sweep.ts";

/** A plan that condemns nothing is made so often, to remember which points there are. */
const REMEMBER_MS = 20 * 3600_000;

export interface GcOptions {
  project: string;
  secrets: readonly Secret[];
  dryRun: boolean;
  /** How long a plan waits before it is swept, and how old what it condemns must be. With 0 one run plans and sweeps. */
  graceMs: number;
  /** Also where points are missing, or most of the project would go. */
  force: boolean;
  /** Ids held in memory at once. */
  maxIds?: number | undefined;
  onProgress?: ((progress: GcProgress) => void) | undefined;
}

/** Of the round at work: first the points are read, then the objects are listed. */
export interface GcProgress {
  /** Points whose references are known. */
  points: number;
  /** Parts of the id space whose objects were listed, of `ofShards`. */
  shards: number;
  ofShards: number;
  deleted: number;
}

/**
 * Collects the garbage of one project; other hosts keep backing up and restoring meanwhile. Throws `damage` where points
 * are gone that no forget took, or a manifest or page cannot be read: then nothing is deleted.
 */
export async function gc(repository: Repository, options: GcOptions, context: Context): Promise<GcReport> {
  const startedMs = context.clock.now();
  const { store } = repository;
  const through = options.dryRun ? repository : { ...repository, store: spendingReserve(store, context) };
  const { project: name, secrets } = options;
  const project = await openProject(through, { name, secrets }, context);
  const report = emptyReport(name);
  if (options.dryRun) {
    const nowMs = await newestMs(project, context);
    await collect({ project, options, report, nowMs, lease: undefined }, context);
  } else {
    await withLease(project, { work: "gc", volume: name }, context, async (lease, guarded) => {
      const nowMs = await lease.storeTimeMs(guarded.signal);
      await collect({ project, options, report, nowMs, lease }, guarded);
    });
    await refillReserve(store, context);
  }
  report.duration_s = (context.clock.now() - startedMs) / 1000;
  return report;
}

/** Who may not write knows the store's time by what was written last. */
async function newestMs(project: Project, { signal }: Context): Promise<number> {
  let newest = 0;
  for (const prefix of [VOLUMES_PREFIX, LEASES_PREFIX]) {
    for await (const { modifiedMs } of project.list(prefix, { signal })) {
      newest = Math.max(newest, modifiedMs);
    }
  }
  return newest;
}

interface GcRun {
  project: Project;
  options: GcOptions;
  report: GcReport;
  /** Without one nothing is changed. */
  lease: Lease | undefined;
  /** By the store's clock. */
  nowMs: number;
}

/** Leases, plans, manifests, objects: in this order. The leases once more when the new plan is written, and at no other time. */
async function collect(run: GcRun, context: Context): Promise<void> {
  const { project, options, report, lease, nowMs } = run;
  const { living } = await leasesBeforePlans(run, context);
  report.running = living.filter(mayReferToChunks).map(waitOf);
  const stored = await listPlans(project, context);
  const times = { living, nowMs, graceMs: options.graceMs };
  const { ready, waiting } = await settlePlans(project, { plans: stored, lease, ...times }, context);
  report.plans_waiting = waiting;
  const head = newestHead(stored, lease === undefined ? Infinity : nowMs);
  const writer = lease && new PlanWriter(project, lease);
  const points = await walk(run, { ready, living, head, writer }, context);
  if (lease === undefined || writer === undefined) {
    report.stopped = options.force
      ? null
      : mistake(report, { planned: report.condemned, points: points.size });
    return;
  }
  for (const plan of ready) await endSwept(run, { plan, lease });
  const isPlanned = await finishShards(run, { writer, points, head });
  const records = await forgottenRecords(project, context);
  if (!isPlanned && records.length === 0) return;
  // After all shards: work that begins from now on sees the plan. After the records: who wrote one is among these, or is done.
  const survey = await surveyLeases(project, nowMs, context);
  if (isPlanned) await completePlan({ ...run, lease }, { writer, points, living: survey.living }, context);
  await dropRecords(project, { records, points, survey, nowMs, lease }, context);
}

/** The leases that the plans of before may wait for. Those that are dead are removed. */
async function leasesBeforePlans(
  { project, report, lease, nowMs }: GcRun,
  context: Context,
): Promise<LeaseSurvey> {
  const survey = await surveyLeases(project, nowMs, context);
  report.unreadable_leases = sayUnreadable(survey, context);
  if (lease !== undefined) report.dead_leases = await buryLeases(project, { survey, lease }, context);
  return survey;
}

/** Says each of them; how many there are. */
function sayUnreadable({ living }: LeaseSurvey, context: Context): number {
  const unreadable = living.filter(({ work }) => work === "unknown");
  for (const { id, problem } of unreadable) {
    context.log.warn(
      { lease: id, reason: problem },
      "a lease cannot be read; its job counts as running until the lease is a day old",
    );
  }
  return unreadable.length;
}

interface Walk {
  ready: readonly ReadyPlan[];
  living: readonly SeenLease[];
  /** Of the newest plan. */
  head: FullHead | undefined;
  writer: PlanWriter | undefined;
}

/**
 * Reads the manifests, sweeps what is ready, then lists the objects: what a backup adds in between is young, or swept by
 * nobody. In as many rounds as the ids need that fit in memory. The points that were there.
 */
async function walk(
  run: GcRun,
  { ready, living, head, writer }: Walk,
  context: Context,
): Promise<ReadonlySet<string>> {
  const { project, options: { force, graceMs, onProgress }, report, lease, nowMs } = run;
  const condemned = await CondemnedObjects.read(project, context);
  // Who has no lease does not know the store's time well enough to tell what is young.
  const beganMs = lease === undefined && graceMs === 0 ? Infinity : nowMs - graceMs;
  const youngMs = Math.min(beganMs, oldestStart(living));
  let points: ReadonlySet<string> = new Set();
  await inRounds(run, async (references) => {
    if (!force) {
      await assertPoints(project, { points: references.points, head }, context);
      await assertNoneMissed(project, references, context);
      if (ready.length > 0) assertAnyPoint(project, references.points);
    }
    if (lease !== undefined) {
      for (const plan of ready) await sweepReady(run, { plan, lease, references }, context);
    }
    const onShard = (shards: number) => {
      const { size: points } = references.points;
      onProgress?.({
        points,
        shards: references.from + shards,
        ofShards: ALL_IDS.to,
        deleted: report.deleted,
      });
    };
    await findGarbage(project, { report, references, condemned, youngMs, writer, onShard }, context);
    points = references.points;
  }, context);
  return points;
}

/** One walk over the manifests for as many ids as fit in memory; each round's references are gone after it. */
async function inRounds(
  { project, report, options: { maxIds = MAX_IDS, onProgress } }: GcRun,
  work: (references: ReferenceSet) => Promise<void>,
  context: Context,
): Promise<void> {
  const forgotten = () => readForgotten(project, context);
  for (let from = 0; from < ALL_IDS.to;) {
    const range = { from, to: ALL_IDS.to };
    let points = 0;
    const onManifest = () =>
      onProgress?.({ points: ++points, shards: from, ofShards: ALL_IDS.to, deleted: report.deleted });
    using references = await collectReferences(project, { range, maxIds, forgotten, onManifest }, context);
    await work(references);
    from = references.to;
  }
}

/** Throws `damage` where points are gone that this host has seen, by the names of the manifests that are there. */
async function assertNoneMissed(
  project: Project,
  references: ReferenceSet,
  context: Context,
): Promise<void> {
  const points = readablePoints(references);
  const missed = await findMissed(project, { volume: undefined, points }, context);
  const [note] = missed.notes;
  if (note !== undefined) {
    throw new VarveError(
      "damage",
      `Cannot collect "${project.name}": ${note.state}, or use --force; nothing was deleted`,
    );
  }
  if (missed.points.length === 0) return;
  throw new VarveError(
    "damage",
    `Cannot collect "${project.name}": ${
      counted(missed.points.length, "restore point")
    } that this host has seen cannot be found, ` +
      `but no forget deleted them; nothing was deleted; restore them with "varve repair ${project.name} --from-repo URL", ` +
      `or use --force to give them up`,
  );
}

/** What was condemned is not deleted where nothing is left that it could be spared for. */
function assertAnyPoint({ name }: Project, points: ReadonlySet<string>): void {
  if (points.size > 0) return;
  throw new VarveError(
    "failed",
    `Cannot collect "${name}": it has no restore points, so they may have been lost; nothing was deleted; ` +
      `use --force if that is intended`,
  );
}

async function sweepReady(
  { project, report }: GcRun,
  work: { plan: StoredPlan; lease: Lease; references: ReferenceSet },
  context: Context,
): Promise<void> {
  const { deleted, spared, refused } = await sweep(project, work, context);
  report.deleted += deleted;
  report.spared += spared;
  report.refused.push(...refused.map(({ key, reason }) => ({ key, reason })));
}

async function endSwept({ project, report }: GcRun, { plan, lease }: { plan: StoredPlan; lease: Lease }) {
  await writeEnd(project, { lease, plan: plan.id });
  report.plans_swept++;
}

/** Writes the shards, unless the plan looks like a mistake; whether it is worth a head. */
async function finishShards(
  { options, report, nowMs }: GcRun,
  { writer, points, head }: {
    writer: PlanWriter;
    points: ReadonlySet<string>;
    head: FullHead | undefined;
  },
): Promise<boolean> {
  report.stopped = options.force ? null : mistake(report, { planned: writer.size, points: points.size });
  if (report.stopped !== null) {
    report.condemned = 0;
    await writer.abandon();
    return false;
  }
  if (writer.size === 0 && head !== undefined && nowMs - head.made_ms < REMEMBER_MS) return false;
  await writer.finish();
  return true;
}

/** Makes the shards a plan that waits for the work that lives; with a grace of 0 it is swept by a second look. */
async function completePlan(
  run: GcRun & { lease: Lease },
  { writer, points, living }: {
    writer: PlanWriter;
    points: ReadonlySet<string>;
    living: readonly SeenLease[];
  },
  context: Context,
): Promise<void> {
  const { project, options, report, lease, nowMs } = run;
  const waits = living.filter(mayReferToChunks).map(({ id }) => id);
  await writeHead(project, { lease, head: { waits, made_ms: nowMs }, points });
  if (writer.size === 0) return;
  const plan = writer.plan({ waits, made_ms: nowMs, points: [...points], writtenMs: nowMs });
  if (options.graceMs === 0 && waits.length === 0) await sweepAtOnce(run, plan, context);
  else report.plans_waiting.push(waitingPlan(plan, { living, graceMs: options.graceMs }));
}

/** The manifests are read again: what refers to a condemned object by now was stored by work that has ended since. */
async function sweepAtOnce(
  run: GcRun & { lease: Lease },
  plan: ReadyPlan,
  context: Context,
): Promise<void> {
  const { lease } = run;
  await inRounds(run, (references) => sweepReady(run, { plan, lease, references }, context), context);
  await endSwept(run, { plan, lease });
}
