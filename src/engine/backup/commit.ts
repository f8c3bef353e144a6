/** The last step of a backup or copy: the manifest, between two looks at the lease. docs/gc.md. */
import { describeError } from "../../errors.ts";
import { manifestName } from "../../format/layout.ts";
import { type OpenManifest, writeManifest } from "../catalog.ts";
import type { Context } from "../context.ts";
import type { Lease } from "../gc/lease.ts";
import type { Project } from "../project.ts";

/**
 * Writes the manifest, last. A lease that is gone before or after means that a gc may have deleted what the point
 * relies on, or that the project was erased: then nothing of it stays. Once the manifest is on its way an interruption
 * comes too late, or it would not be known whether there is a restore point. Throws `conflict`.
 */
export async function commitManifest(
  project: Project,
  { manifest, lease }: { manifest: OpenManifest; lease: Lease },
  context: Context,
): Promise<void> {
  await lease.seenMs(context.signal);
  await lease.send((options) => writeManifest(project, manifest, options));
  try {
    await lease.seenMs(undefined);
  } catch (error) {
    await withdraw(project, manifest, context);
    throw error;
  }
}

async function withdraw(project: Project, { info }: OpenManifest, context: Context): Promise<void> {
  const key = project.key(manifestName(info.volume, info.backup));
  const reason = await project.store.delete([key]).then(([left]) => left?.reason, describeError);
  if (reason === undefined) return;
  context.log.error({ key, reason }, `could not withdraw the backup ${info.backup}; forget it by hand`);
}
