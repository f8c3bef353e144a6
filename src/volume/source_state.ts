/** What a source that chooses its own beginning is told of the volume: before it is read, and once all is committed. */
import type { Context } from "../context.ts";
import type { Lease } from "../project/sharing/lease.ts";
import { type SeenLease, surveyLeases } from "../project/sharing/leases.ts";
import type { Project } from "../project/project.ts";
import type { Source } from "../sources/source.ts";
import type { EarlierPoints } from "./earlier_points.ts";

interface SourceRun {
  project: Project;
  options: { source: Source; volume: string };
  earlier: EarlierPoints;
  lease: Lease;
}

/** To be called once the lease is there: what the source makes for this run is then known to be in use. */
export async function prepareSource(
  { project, options, earlier }: SourceRun,
  context: Context,
): Promise<void> {
  const { source, volume } = options;
  if (source.prepare === undefined) return;
  const { points } = await earlier.read(context);
  await source.prepare({ id: volumeId(project, volume), points });
}

/** Names a volume among those of all repositories. */
function volumeId(project: Project, volume: string): string {
  return `${project.repositoryId}/${project.name}/${volume}`;
}

/** Whatever goes wrong here, the backup is committed. */
export async function tellSource({ project, options, lease }: SourceRun, context: Context): Promise<void> {
  const { source, volume } = options;
  if (source.committed === undefined) return;
  const alone = isAlone(project, { volume, lease }, context).catch((error) => {
    context.log.debug({ err: error }, "cannot tell if another backup of the volume is running");
    return false;
  });
  await source.committed({ isAlone: await alone });
}

/**
 * Whether no other backup of the volume is under way, which may need what older points began at. The lease of a process
 * that is known to have ended says nothing, one that cannot be read may be any. `lease` is the caller's own.
 */
async function isAlone(
  project: Project,
  { volume, lease }: { volume: string; lease: Lease },
  context: Context,
): Promise<boolean> {
  const { living } = await surveyLeases(project, await lease.storeTimeMs(context.signal), context);
  return !living.some((other) =>
    other.id !== lease.idHex && mayBackUp(other, volume) && !hasEnded(other, context)
  );
}

function mayBackUp({ work, volume }: SeenLease, wanted: string): boolean {
  return work === "unknown" || (work === "backup" && volume === wanted);
}

/** A process that was killed leaves its lease behind, and its number may have come to this one. */
function hasEnded({ host, pid }: SeenLease, context: Context): boolean {
  return host === context.host && (pid === process.pid || !isRunning(pid));
}

/** kill(2): signal 0 only asks. Whatever is not said to be gone may run. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
