/**
 * Hold and release: whether a backup can be forgotten. docs/operating.md, "Retention".
 *
 * A forget announces itself before it reads the holds, and a hold is written before the announcements are read, so at
 * least one of the two sees the other: no backup is forgotten after `hold` said that it is held.
 */
import type { Secret } from "../../codec/keys.ts";
import { isUnreadable, VarveError } from "../../errors.ts";
import { isBackupId } from "../../format/backup_id.ts";
import { holdName, LEASES_PREFIX } from "../../format/layout.ts";
import { findBackup } from "../../project/find_backup.ts";
import { isGone } from "../../project/manifests.ts";
import type { Context } from "../../context.ts";
import { readHold, writeHold } from "../../project/holds.ts";
import type { PointRef } from "../../project/point_ref.ts";
import { ALL_VOLUMES, LEASE_DEAD_MS } from "../../project/sharing/lease.ts";
import { livingLeases, type SeenLease } from "../../project/sharing/leases.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";

export interface HoldOptions {
  project: string;
  volume: string;
  point: string;
  secrets: readonly Secret[];
}

/** The JSON of `varve hold` and `varve release`. */
export interface HoldReport {
  project: string;
  volume: string;
  backup: string;
  held: boolean;
  hold_reason: string | null;
  /** Of the hold that this one has replaced. */
  former_reason?: string | undefined;
}

/**
 * Keeps a backup from being forgotten until it is released. A second hold replaces the reason. Throws `conflict` where
 * a forget runs that may not have seen the hold, or has won.
 */
export async function hold(
  repository: Repository,
  options: HoldOptions & { reason: string | null },
  context: Context,
): Promise<HoldReport> {
  const { project: name, volume, secrets, reason } = options;
  const project = await openProject(repository, { name, secrets }, context);
  const place = { volume, backup: await findBackup(project, options, context) };
  const former = await readHold(project, place, context).catch((error) => {
    if (!isUnreadable(error)) throw error; // it is written anew
  });
  await writeHold(project, { ...place, reason }, context);
  await assertNoForget(project, place, context);
  await assertStillThere(project, place, context);
  const former_reason = former?.reason === reason ? undefined : former?.reason ?? undefined;
  return { project: project.name, ...place, held: true, hold_reason: reason, former_reason };
}

/** Lets a backup be forgotten again. Throws `failed` where it is not held or the store refuses. */
export async function release(
  repository: Repository,
  options: HoldOptions,
  context: Context,
): Promise<HoldReport> {
  const { project: name, volume, point, secrets } = options;
  const project = await openProject(repository, { name, secrets }, context);
  // A hold may be left of a backup that is no more, and can be named by the id.
  const backup = isBackupId(point) ? point : await findBackup(project, options, context);
  const held = holdName(volume, backup);
  const cannot = `Cannot release "${project.name}/${volume}@${backup}":`;
  if (await project.head(held, context) === undefined) {
    throw new VarveError("failed", `${cannot} it is not held`);
  }
  const [left] = await project.delete([held], context);
  if (left !== undefined) throw new VarveError("failed", `${cannot} ${left.reason}`);
  return { project: project.name, volume, backup, held: false, hold_reason: null };
}

async function assertNoForget(project: Project, place: PointRef, context: Context): Promise<void> {
  const leases = (await livingLeases(project, context)).filter(({ work, volume }) =>
    (work === "forget" || work === "unknown") && [ALL_VOLUMES, place.volume].includes(volume)
  );
  if (leases.length === 0) return;
  const written = await project.find(holdName(place.volume, place.backup), context);
  // Where the store does not say when the hold was written, none of the leases is known to be dead.
  const writtenMs = written?.modifiedMs ?? -Infinity;
  const isDead = ({ refreshedMs }: SeenLease) => writtenMs - refreshedMs > LEASE_DEAD_MS;
  const running = leases.find((lease) => !isDead(lease)) ?? await findUnburied(project, leases, context);
  if (running === undefined) return;
  const state = running.work === "unknown"
    ? `lease ${running.id} is unreadable and may belong to a forget that has not seen the hold; retry in a day`
    : `a forget running on "${running.host}" may not have seen the hold; retry when it has ended`;
  throw new VarveError(
    "conflict",
    `Cannot guarantee the hold on "${project.name}/${place.volume}@${place.backup}": ${state}`,
  );
}

/**
 * Removes the dead leases; one of those that are still there, if any. A dead lease counts as ended only once it is removed:
 * a forget that wakes up after days must not find it.
 */
async function findUnburied(
  project: Project,
  leases: readonly SeenLease[],
  context: Context,
): Promise<SeenLease | undefined> {
  await project.delete(leases.map(({ id }) => LEASES_PREFIX + id), context);
  const there = new Set((await livingLeases(project, context)).map(({ id }) => id));
  return leases.find(({ id }) => there.has(id));
}

async function assertStillThere(project: Project, place: PointRef, context: Context): Promise<void> {
  if (!await isGone(project, place, context)) return;
  await project.delete([holdName(place.volume, place.backup)], context);
  throw new VarveError(
    "conflict",
    `Cannot hold "${project.name}/${place.volume}@${place.backup}": it has just been forgotten`,
  );
}
