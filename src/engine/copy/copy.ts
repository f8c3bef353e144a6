/**
 * Copy: a project's points into a second repository. Its keys first, then, under a lease in both, for each point that is
 * missing there its chunks, pages and last its manifest, as they are. Run again, it copies what is still missing.
 */
import type { Secret } from "../../codec/keys.ts";
import { UsageError } from "../../errors.ts";
import { leaseName } from "../../format/layout.ts";
import type { Store } from "../../store/store.ts";
import { findBackup } from "../../project/find_backup.ts";
import { listBackupIds } from "../../project/points.ts";
import { ChunkResources } from "../../volume/resources.ts";
import { type CopiedPoints, copyMissing, type CopyProgress } from "../../volume/copy_points.ts";
import { CondemnedObjects } from "../../project/sharing/condemned.ts";
import type { Context } from "../../context.ts";
import { copyKeys } from "./copy_target.ts";
import type { Lease, LeaseOptions } from "../../project/sharing/lease.ts";
import { withLease, withLeaseIfWritable } from "../../project/sharing/with_lease.ts";
import { listPoints } from "../../project/points.ts";
import type { PointRef } from "../../project/point_ref.ts";
import { noBackups } from "../../project/not_found.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import { openSecond, type Repository } from "../../project/repository.ts";
import { QuarantinedObjects } from "../../project/sharing/quarantine.ts";

export interface CopyOptions {
  project: string;
  /** Of one volume; without it of all. */
  volume?: string | undefined;
  /** Only this point of the volume. */
  point?: string | undefined;
  secrets: readonly Secret[];
  /** Where the second repository is, or shall be. */
  to: Store;
  onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/** The JSON of `varve copy`. */
export interface CopyReport extends CopiedPoints {
  to: string;
  duration_s: number;
}

/**
 * Copies what the other repository does not have. A point that is damaged is reported and left out. Throws `conflict` where the other has another chunk size or another project of that name,
 * `wrong_secret`, `StoreError`, `UsageError` where the other is the same.
 */
export async function copy(
  repository: Repository,
  options: CopyOptions,
  context: Context,
): Promise<CopyReport> {
  const startedMs = context.clock.now();
  const { project: name, secrets, to } = options;
  const source = await openProject(repository, { name, secrets }, context);
  const report = await withLeaseIfWritable(
    source,
    leaseOf(options),
    context,
    async (sourceLease, guarded) => {
      const points = await findPoints(source, options, guarded);
      const second = await openSecond(
        to,
        { chunkBytes: repository.chunkBytes, cannot: "Cannot copy to" },
        guarded,
      );
      await assertOtherRepository(repository, { second, source, sourceLease }, guarded);
      await copyKeys(source, second, guarded);
      const target = await openProject(second, { name, secrets }, guarded);
      return await copyPoints(source, { target, points, options }, guarded);
    },
  );
  return { ...report, to: to.url, duration_s: (context.clock.now() - startedMs) / 1000 };
}

function leaseOf({ project, volume }: CopyOptions): LeaseOptions {
  return { work: "copy", volume: volume ?? project };
}

/** Throws where both are one: it has the lease that was just written to the first, or where none could be, its address. */
async function assertOtherRepository(
  repository: Repository,
  { second, source, sourceLease }: { second: Repository; source: Project; sourceLease: Lease | undefined },
  context: Context,
): Promise<void> {
  if (second.id !== repository.id) return;
  const { store } = second;
  const isSame = sourceLease === undefined
    ? store.url === repository.store.url && store.host === repository.store.host
    : await store.head(source.objectKey(leaseName(sourceLease.id)), context) !== undefined;
  if (!isSame) return;
  throw new UsageError(
    `Cannot copy "${source.name}" to "${store.url}": the source and the target are the same repository`,
  );
}

/** What was asked for: oldest first within a volume. */
async function findPoints(source: Project, options: CopyOptions, context: Context): Promise<PointRef[]> {
  const { volume, point } = options;
  if (volume === undefined) return await listPoints(source, undefined, context);
  const backups = point === undefined
    ? await listBackupIds(source, volume, context)
    : [await findBackup(source, { volume, point }, context)];
  if (backups.length > 0) return backups.map((backup) => ({ volume, backup }));
  throw await noBackups(source, volume, context);
}

/** From here on as a backup does: the lease first, then the plans, then what is there. docs/gc.md. */
async function copyPoints(
  source: Project,
  { target, points, options }: { target: Project; points: PointRef[]; options: CopyOptions },
  context: Context,
): Promise<CopiedPoints> {
  return await withLease(target, leaseOf(options), context, async (lease, guarded) => {
    await using resources = new ChunkResources({ chunkBytes: source.chunkBytes, from: "store" }, context);
    await lease.storeTimeMs(guarded.signal);
    await target.assertNotErased({ signal: guarded.signal });
    const condemned = await CondemnedObjects.read(target, guarded);
    const marked = await QuarantinedObjects.read(target, guarded);
    const { onProgress } = options;
    const copying = { source, target, resources, condemned, marked, lease, onProgress };
    return await copyMissing(copying, points, guarded);
  });
}
