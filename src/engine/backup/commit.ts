/** The last step of a backup or copy: the manifest, between two looks at the lease. docs/gc.md. */
import { describeError, InterruptedError, StoreError, VarveError } from "../../errors.ts";
import { manifestName } from "../../format/layout.ts";
import { type OpenManifest, writeManifest } from "../catalog.ts";
import type { Context } from "../context.ts";
import type { Condemned } from "../gc/condemned.ts";
import { isGone } from "../gc/gone.ts";
import type { Lease } from "../gc/lease.ts";
import { recordForgotten } from "../retention/forgotten.ts";
import type { Project } from "../project.ts";

/**
 * Writes the manifest, last. A lease that is gone before or after means that a gc may have deleted what the point
 * relies on, or that the project was erased: then nothing of it stays. Once the manifest is on its way an interruption
 * comes too late, or it would not be known whether there is a restore point. Throws `conflict`, and where the store
 * failed an error that says what is known of the point.
 * The key is looked at, too: a lease that an erasure has deleted may come back by a refresh that stood still meanwhile.
 */
export async function commitManifest(
  project: Project,
  { manifest, lease, condemned }: { manifest: OpenManifest; lease: Lease; condemned: Condemned },
  context: Context,
): Promise<void> {
  await Promise.all([
    project.checkNotErased({ signal: context.signal }),
    condemned.checkUnseen(lease),
  ]);
  const info = { ...manifest.info, lease_ms: lease.startedMs ?? undefined };
  try {
    await lease.send((options) => writeManifest(project, { ...manifest, info }, options));
  } catch (error) {
    await checkStored(project, { manifest, error }, context);
  }
  let isLost: boolean;
  try {
    const looks = [lease.seenMs(undefined), project.checkNotErased({})];
    [isLost] = await Promise.all([isGone(project, manifest.info, {}), ...looks]);
  } catch (error) {
    await withdraw(project, { manifest, lease }, context);
    throw error;
  }
  if (isLost) throw notStored(project, manifest);
}

/**
 * After a failed write that the store may have done all the same, its answer lost: returns where the manifest is there.
 * Nobody else writes this key, and the lease outlives an attempt that may still be under way.
 */
async function checkStored(
  project: Project,
  { manifest: { info }, error }: { manifest: OpenManifest; error: unknown },
  context: Context,
): Promise<void> {
  if (!(error instanceof StoreError) || !error.retryable) throw error;
  const volume = `${project.name}/${info.volume}`;
  const unknown = `whether "${volume}@${info.backup}" is stored is not known, "varve list ${volume}" tells`;
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
    `Cannot store "${volume}@${info.backup}": it is not there; should a late write still arrive, "varve list ${volume}" tells`,
    { cause: error },
  );
}

/** The store said that it has it, and then, asked in two ways, that it does not. */
function notStored(project: Project, { info }: OpenManifest): VarveError {
  return new VarveError(
    "failed",
    `Cannot store "${project.name}/${info.volume}@${info.backup}": the store said that it has it, and does not; run it again`,
  );
}

/** Written down like what a forget takes: a gc may have seen it. Not where the project was erased: nothing of it stays. */
async function withdraw(
  project: Project,
  { manifest: { info }, lease }: { manifest: OpenManifest; lease: Lease },
  context: Context,
): Promise<void> {
  const name = manifestName(info.volume, info.backup);
  const key = project.key(name);
  await project.checkNotErased({})
    .then(() => recordForgotten(project, { names: [name], lease: lease.idHex }, {}))
    .catch((error) => context.log.debug({ err: error }, "the withdrawal was not written down"));
  const reason = await project.store.delete([key]).then(([left]) => left?.reason, describeError);
  if (reason === undefined) return;
  context.log.error({ key, reason }, `could not withdraw the backup ${info.backup}; forget it by hand`);
}
