/**
 * Forget: drops restore points, all that a policy does not keep or a named one. Their chunks stay until a gc finds that no
 * other point needs them. docs/operating.md, "Retention".
 */
import type { Secret } from "../../codec/keys.ts";
import { DamageError, VarveError } from "../../errors.ts";
import { backupTimeMs } from "../../format/backup_id.ts";
import { holdName, manifestName } from "../../format/layout.ts";
import { assertPolicy } from "./policy.ts";
import { findBackupForCertain } from "../../project/find_backup.ts";
import { isGone } from "../../project/manifests.ts";
import { readPoints } from "../../project/read_points.ts";
import type { Context } from "../../context.ts";
import { type ForgetPolicy, type ForgetRow, type JudgedPoint, planForget } from "./forget_plan.ts";
import { recordForgotten } from "../../project/forgotten.ts";
import { listPointsOnce } from "../../project/points.ts";
import { Holds } from "../../project/holds.ts";
import type { PointRef } from "../../project/point_ref.ts";
import { ALL_VOLUMES, type Lease } from "../../project/sharing/lease.ts";
import { withLeaseIfWritable } from "../../project/sharing/with_lease.ts";
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

interface ForgetPointOptions {
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
  const choose = async ({ project, lease }: ForgetRun) => {
    const points = await pointsOf(project, options.volume, context);
    const nowMs = await storeClockMs(points, { lease, dryRun: options.dryRun }, context);
    return planForget(points, { ...options, nowMs });
  };
  return await dropChosen(repository, { ...options, volume: options.volume ?? ALL_VOLUMES, choose }, context);
}

/** Drops one point, whatever a policy would say. Throws `failed` where it is held. */
export async function forgetPoint(
  repository: Repository,
  options: ForgetPointOptions,
  context: Context,
): Promise<ForgetRow[]> {
  const choose = async ({ project }: ForgetRun): Promise<ForgetRow[]> => {
    const place = { volume: options.volume, backup: await findBackupForCertain(project, options, context) };
    await assertNotHeld(project, place, context);
    const time = timeOf(place.backup).toISOString();
    return [{ project: project.name, ...place, time, kept: false, rules: [], problem: null }];
  };
  return await dropChosen(repository, { ...options, choose }, context);
}

interface ForgetRun {
  project: Project;
  /** `undefined` in a dry run, and if the store lets this host write none. */
  lease: Lease | undefined;
}

interface DropOptions {
  project: string;
  volume: string;
  dryRun: boolean;
  secrets: readonly Secret[];
  /** Chooses the points that are to go. */
  choose: (run: ForgetRun) => Promise<ForgetRow[]>;
}

/** Lease, plan, drop. The holds are read after the lease is written: hold.ts says why. */
async function dropChosen(
  repository: Repository,
  { project: name, volume, dryRun, secrets, choose }: DropOptions,
  context: Context,
): Promise<ForgetRow[]> {
  const { store } = repository;
  const through = dryRun ? repository : { ...repository, store: spendingReserve(store, context) };
  const project = await openProject(through, { name, secrets }, context);
  if (dryRun) return await choose({ project, lease: undefined });
  let isWritable = false;
  try {
    return await withLeaseIfWritable(project, { work: "forget", volume }, context, async (lease) => {
      isWritable = lease !== undefined;
      const rows = await choose({ project, lease });
      await drop(rows, { project, lease }, context);
      return rows;
    });
  } finally {
    if (isWritable) await refillReserve(store, context);
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
  const isHeld = await project.head(holdName(volume, backup), context) !== undefined ||
    (await Holds.read(project, volume, context)).has({ volume, backup });
  if (!isHeld) return;
  const thing = `${project.name}/${volume}@${backup}`;
  throw new VarveError(
    "failed",
    `Cannot forget "${thing}": it is held; release it with "varve release ${thing}"`,
  );
}

/** Removes the manifests of the rows that are neither kept nor have a problem; what stays gets its problem. */
async function drop(rows: ForgetRow[], { project, lease }: ForgetRun, context: Context): Promise<void> {
  const going = rows.filter(({ kept, problem }) => !kept && problem === null);
  if (going.length === 0) return;
  const byName = new Map(going.map((row) => [manifestName(row.volume, row.backup), row]));
  const remove = (options: RequestOptions) => project.delete([...byName.keys()], options);
  if (lease !== undefined) await record(going, { project, lease });
  const left = await (lease === undefined ? remove(context) : lease.send(remove));
  for (const { key, reason } of left) byName.get(project.nameOf(key))!.problem = reason;
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
    row.problem = "the store reported it as deleted but still has it; retry";
  }
}

async function listNames(
  project: Project,
  rows: readonly ForgetRow[],
  context: Context,
): Promise<Set<string>> {
  const names = new Set<string>();
  for (const volume of new Set(rows.map(({ volume }) => volume))) {
    for await (const { name } of listPointsOnce(project, volume, context)) names.add(name);
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
