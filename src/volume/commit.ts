/** The last step of a backup or copy: the manifest, between two looks at the lease. docs/gc.md. */
import { describeError, InterruptedError, StoreError, VarveError } from "../errors.ts";
import { holdName, manifestName } from "../format/layout.ts";
import type { ManifestInfo } from "../format/manifest.ts";
import { isGone, type OpenManifest, writeManifest } from "../project/manifests.ts";
import type { WrittenObject } from "./present_objects.ts";
import type { Context } from "../context.ts";
import type { CondemnedObjects } from "../project/sharing/condemned.ts";
import type { Lease } from "../project/sharing/lease.ts";
import { readForgotten, recordForgotten } from "../project/forgotten.ts";
import type { Project } from "../project/project.ts";
import { isWhole } from "./whole.ts";

interface Commit {
  manifest: OpenManifest;
  lease: Lease;
  /** As they were read after the lease was written. */
  condemned: CondemnedObjects;
  /** Of all that the run has stored or asked for, what was written last. */
  newest: WrittenObject | undefined;
}

/**
 * Writes the manifest, last. A lease that is gone before or after means that a gc may have deleted what the point
 * relies on, or that the project was erased: then nothing of it stays. Once the manifest is on its way an interruption
 * comes too late, or it would not be known whether there is a restore point. Throws `conflict`, and where the store
 * failed an error that says what is known of the point.
 * The key is looked at, too: a lease that an erasure has deleted may come back by a refresh that stood still meanwhile.
 */
export async function commitManifest(
  project: Project,
  { manifest, lease, condemned, newest }: Commit,
  context: Context,
): Promise<void> {
  await Promise.all([
    project.assertNotErased({ signal: context.signal }),
    condemned.assertUnseen(lease),
  ]);
  // A file system tells fractions. Earlier is on the safe side: what a gc condemned since is looked at.
  const lease_ms = lease.startedMs === null ? undefined : Math.floor(lease.startedMs);
  const info = { ...manifest.info, lease_ms };
  try {
    await lease.send((options) => writeManifest(project, { ...manifest, info }, options));
  } catch (error) {
    await assertStored(project, { manifest, error }, context);
  }
  let isLost: boolean;
  try {
    [isLost] = await Promise.all([
      isGone(project, manifest.info, {}),
      lease.confirm(undefined),
      project.assertNotErased({}),
      newest === undefined ? undefined : assertNewest(project, { manifest, newest }),
    ]);
  } catch (error) {
    if (await canStay(project, { manifest, error }, context)) return;
    await withdraw(project, { manifest, lease }, context);
    throw error;
  }
  if (isLost) await explainLost(project, manifest, context);
}

/**
 * Whether the point can do without the lease that was lost. It is not withdrawn then: another copy may rely on it, or the same
 * backup may have been told long ago that it is done, before its host was put back to a copy of its memory.
 */
async function canStay(
  project: Project,
  { manifest, error }: { manifest: OpenManifest; error: unknown },
  context: Context,
): Promise<boolean> {
  if (!(error instanceof VarveError) || error.code !== "conflict") return false;
  const uninterrupted = { ...context, signal: new AbortController().signal };
  const looks = async () => {
    await project.assertNotErased({});
    return !await isGone(project, manifest.info, {}) && await isWhole(project, manifest, uninterrupted);
  };
  const isGood = await looks().catch(() => false);
  if (isGood) {
    context.log.warn(
      { err: error },
      `restore point ${manifest.info.backup} is stored; its lease had expired, so all its objects were checked`,
    );
  }
  return isGood;
}

/** A store that is put back loses what was written last first: while that is there, so is all that is older. */
async function assertNewest(
  project: Project,
  { manifest: { info }, newest }: { manifest: OpenManifest; newest: WrittenObject },
): Promise<void> {
  if (await project.has(newest.name, {})) return;
  throw new VarveError(
    "conflict",
    `Cannot store "${project.name}/${info.volume}@${info.backup}": "${
      project.objectKey(newest.name)
    }" is missing but was ` +
      `not deleted, so the store may have been reset to an older copy; retry`,
  );
}

/**
 * After a failed write that the store may have done all the same, its answer lost: returns where the manifest is there.
 * Nobody else writes this key, and the lease outlives an attempt that may still be under way.
 */
async function assertStored(
  project: Project,
  { manifest: { info }, error }: { manifest: OpenManifest; error: unknown },
  context: Context,
): Promise<void> {
  if (!(error instanceof StoreError) || !error.retryable) throw error;
  const volume = `${project.name}/${info.volume}`;
  const unknown = `the store did not confirm "${volume}@${info.backup}"; check with "varve list ${volume}"`;
  let isThere: boolean;
  try {
    isThere = !await isGone(project, info, context);
  } catch {
    const { reason } = context.signal;
    if (reason instanceof VarveError && !(reason instanceof InterruptedError)) throw reason;
    if (context.signal.aborted) throw new InterruptedError(`Interrupted: ${unknown}`);
    throw new VarveError("failed", `Cannot finish the restore point: ${unknown}`, { cause: error });
  }
  if (isThere) return;
  throw new VarveError(
    "failed",
    `Cannot store "${volume}@${info.backup}": the store does not have it; a delayed write may still arrive, check with "varve list ${volume}"`,
    { cause: error },
  );
}

/**
 * The store said that it has the manifest, and then, asked in two ways, that it does not. Somebody may have forgotten the
 * point already; else the store lost it.
 */
async function explainLost(project: Project, { info }: OpenManifest, context: Context): Promise<void> {
  if ((await readForgotten(project, context)).has(manifestName(info.volume, info.backup))) return;
  throw new VarveError(
    "failed",
    `Cannot store "${project.name}/${info.volume}@${info.backup}": the store confirmed it but does not have it; retry`,
  );
}

/** Somebody may have found the point and held it meanwhile. */
async function isHeld(project: Project, { volume, backup }: ManifestInfo): Promise<boolean> {
  return await project.head(holdName(volume, backup), {}).then((info) => info !== undefined, () => false);
}

/** Written down like what a forget takes: a gc may have seen it. Not where the project was erased: nothing of it stays. */
async function withdraw(
  project: Project,
  { manifest: { info }, lease }: { manifest: OpenManifest; lease: Lease },
  context: Context,
): Promise<void> {
  const name = manifestName(info.volume, info.backup);
  const key = project.objectKey(name);
  if (await isHeld(project, info)) {
    return context.log.error(
      { key },
      `restore point ${info.backup} is held and was kept; check it with varve verify`,
    );
  }
  await project.assertNotErased({})
    .then(() => recordForgotten(project, { names: [name], lease: lease.idHex }, {}))
    .catch((error) => context.log.debug({ err: error }, "could not record the withdrawal"));
  const reason = await project.delete([name], {}).then(([left]) => left?.reason, describeError);
  if (reason === undefined) return;
  context.log.error(
    { key, reason },
    `could not withdraw restore point ${info.backup}; remove it with varve forget`,
  );
}
