/**
 * Forget: drops restore points, all that a policy does not keep or a named one. Their chunks stay until a gc finds that no
 * other point needs them. docs/operating.md, "Retention".
 */
import { hostname } from "node:os";
import type { Secret } from "../../codec/keys.ts";
import { DamageError, VarveError } from "../../errors.ts";
import { backupTimeMs } from "../../format/backup_id.ts";
import { holdName, manifestName, volumePrefix } from "../../format/layout.ts";
import { assertPolicy } from "./policy.ts";
import { findBackupForCertain, isGone, readPoints } from "../../project/catalog.ts";
import type { Context } from "../../context.ts";
import { type ForgetPolicy, type ForgetRow, type JudgedPoint, planForget } from "./forget_plan.ts";
import { recordForgotten } from "../../project/forgotten.ts";
import { Holds } from "../../project/holds.ts";
import type { PointRef } from "../../project/point_ref.ts";
import { ALL_VOLUMES, Lease } from "../../project/sharing/lease.ts";
import { noBackups } from "../../project/not_found.ts";
import { noteForgotten } from "../../project/seen_points.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { refillReserve, spendingReserve } from "../../project/reserve.ts";
import type { RequestOptions } from "../../store/store.ts";

export interface ForgetOptions extends ForgetPolicy {
  project: string;
  /** Without it, each volume of the project by itself. */
  volume?: string | undefined;
  dryRun: boolean;
  secrets: readonly Secret[];
}

export interface ForgetPointOptions {
  project: string;
  volume: string;
  point: string;
  dryRun: boolean;
  secrets: readonly Secret[];
}

/**
 * Drops what the policy does not keep. What cannot be judged or dropped stays, with the problem in its row. Throws
 * `UsageError` for a policy that keeps nothing or an unknown time zone.
 */
export async function forget(
  repository: Repository,
  options: ForgetOptions,
  context: Context,
): Promise<ForgetRow[]> {
  assertPolicy(options.policy);
  const work = async ({ project, lease }: Run) => {
    const points = await pointsOf(project, options.volume, context);
    const nowMs = await storeClockMs(points, { lease, dryRun: options.dryRun }, context);
    return planForget(points, { ...options, nowMs });
  };
  return await run(repository, { ...options, volume: options.volume ?? ALL_VOLUMES, work }, context);
}

/** Drops one point, whatever a policy would say. Throws `failed` where it is held. */
export async function forgetPoint(
  repository: Repository,
  options: ForgetPointOptions,
  context: Context,
): Promise<ForgetRow[]> {
  const work = async ({ project }: Run): Promise<ForgetRow[]> => {
    const place = { volume: options.volume, backup: await findBackupForCertain(project, options, context) };
    await assertNotHeld(project, place, context);
    const time = timeOf(place.backup).toISOString();
    return [{ project: project.name, ...place, time, kept: false, rules: [], problem: null }];
  };
  return await run(repository, { ...options, work }, context);
}

interface Run {
  project: Project;
  lease: Lease | undefined;
}

interface RunOptions {
  project: string;
  volume: string;
  dryRun: boolean;
  secrets: readonly Secret[];
  /** Says what is to go. */
  work: (run: Run) => Promise<ForgetRow[]>;
}

/** Lease, plan, drop. The holds are read after the lease is written: hold.ts says why. */
async function run(
  repository: Repository,
  { project: name, volume, dryRun, secrets, work }: RunOptions,
  context: Context,
): Promise<ForgetRow[]> {
  const { store } = repository;
  const through = dryRun ? repository : { ...repository, store: spendingReserve(store, context) };
  const project = await openProject(through, { name, secrets }, context);
  const announcement = { work: "forget", volume, host: hostname(), key: project.firstKey } as const;
  const lease = dryRun ? undefined : await Lease.tryBegin(project, announcement, context);
  try {
    const rows = await work({ project, lease });
    if (!dryRun) await drop(rows, { project, lease }, context);
    return rows;
  } finally {
    await lease?.end();
    if (lease !== undefined) await refillReserve(store, context);
  }
}

async function pointsOf(
  project: Project,
  volume: string | undefined,
  context: Context,
): Promise<JudgedPoint[]> {
  const holds = await Holds.readTwice(project, volume, context);
  const points: JudgedPoint[] = [];
  for await (const { info, ...place } of readPoints(project, volume, context)) {
    const [tags, damage] = info instanceof DamageError ? [[], info] : [info.tags, undefined];
    points.push({ ...place, timeMs: timeOf(place.backup).getTime(), held: holds.has(place), tags, damage });
  }
  if (points.length > 0 || volume === undefined) return points;
  throw await noBackups(project, volume, context);
}

/**
 * Where we may not write, by the newest object: nothing was written after that. A dry run decides nothing, so it may also take
 * this host's time.
 */
async function storeClockMs(
  points: readonly JudgedPoint[],
  { lease, dryRun }: { lease: Lease | undefined; dryRun: boolean },
  { signal, clock }: Context,
): Promise<number> {
  if (lease !== undefined) return await lease.storeTimeMs(signal);
  const newestMs = points.reduce((newest, { modifiedMs }) => Math.max(newest, modifiedMs), 0);
  return dryRun ? Math.max(newestMs, clock.now()) : newestMs;
}

async function assertNotHeld(
  project: Project,
  { volume, backup }: PointRef,
  context: Context,
): Promise<void> {
  const isHeld = await project.store.head(project.key(holdName(volume, backup)), context) !== undefined ||
    (await Holds.read(project, volume, context)).has({ volume, backup });
  if (!isHeld) return;
  const thing = `${project.name}/${volume}@${backup}`;
  throw new VarveError(
    "failed",
    `Cannot forget "${thing}": it is held; "varve release ${thing}" lets it go`,
  );
}

/** Removes the manifests of the rows that are neither kept nor have a problem; what stays gets its problem. */
async function drop(rows: ForgetRow[], { project, lease }: Run, context: Context): Promise<void> {
  const going = rows.filter(({ kept, problem }) => !kept && problem === null);
  if (going.length === 0) return;
  const byKey = new Map(going.map((row) => [project.key(manifestName(row.volume, row.backup)), row]));
  const remove = (options: RequestOptions) => project.store.delete([...byKey.keys()], options);
  if (lease !== undefined) await record(going, { project, lease });
  const left = await (lease === undefined ? remove(context) : lease.send(remove));
  for (const { key, reason } of left) byKey.get(key)!.problem = reason;
  await assertGone(going, { project }, context);
  await noteForgotten(project, going.filter(({ problem }) => problem === null), context);
}

/** What the store said to have deleted is looked for once more. */
async function assertGone(
  going: readonly ForgetRow[],
  { project }: { project: Project },
  context: Context,
): Promise<void> {
  const listed = await listNames(project, going, context);
  for (const row of going) {
    if (row.problem !== null || !listed.has(manifestName(row.volume, row.backup))) continue;
    if (await isGone(project, row, context)) continue;
    row.problem = "the store said that it is deleted, and still has it; run it again";
  }
}

async function listNames(
  project: Project,
  rows: readonly ForgetRow[],
  { signal }: Context,
): Promise<Set<string>> {
  const names = new Set<string>();
  for (const volume of new Set(rows.map(({ volume }) => volume))) {
    for await (const { name } of project.list(volumePrefix(volume), { signal })) names.add(name);
  }
  return names;
}

/** So that a gc does not take the points for lost. */
async function record(
  going: readonly ForgetRow[],
  { project, lease }: { project: Project; lease: Lease },
): Promise<void> {
  const names = going.map(({ volume, backup }) => manifestName(volume, backup));
  await lease.send((options) => recordForgotten(project, { names, lease: lease.idHex }, options));
}

/** The name of a manifest is sealed into it. */
function timeOf(backup: string): Date {
  return new Date(backupTimeMs(backup)!);
}
