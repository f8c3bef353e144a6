/**
 * Copy: a project's points into a second repository. Its keys first, then, under a lease in both, for each point that is
 * missing there its chunks, pages and last its manifest, as they are. Run again, it copies what is still missing.
 */
import { hostname } from "node:os";
import type { Secret } from "../../codec/keys.ts";
import { UsageError } from "../../errors.ts";
import { leaseName } from "../../format/layout.ts";
import type { Store } from "../../store/store.ts";
import { findBackup, listBackupIds } from "../../project/catalog.ts";
import { ChunkResources } from "../../volume/resources.ts";
import { type CopiedPoints, copyMissing, type CopyProgress } from "../../volume/copy_points.ts";
import { CondemnedObjects } from "../../project/sharing/condemned.ts";
import type { Context } from "../../context.ts";
import { copyKeys, openSecond } from "./copy_target.ts";
import { Lease } from "../../project/sharing/lease.ts";
import { listPoints } from "../../project/points.ts";
import type { PointRef } from "../../project/point_ref.ts";
import { noBackups } from "../../project/not_found.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
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
  const sourceLease = await Lease.tryBegin(source, leaseOptions(source, options), context);
  try {
    const guarded = sourceLease?.guard(context) ?? context;
    const places = await findPlaces(source, options, guarded);
    const second = await openSecond(to, repository.chunkBytes, guarded);
    await assertOtherRepository(repository, { second, source, sourceLease }, guarded);
    await copyKeys({ from: repository.store, to, project: name }, guarded);
    const target = await openProject(second, { name, secrets }, guarded);
    const report = await copyPlaces(source, { target, places, options }, guarded);
    return { ...report, duration_s: (context.clock.now() - startedMs) / 1000 };
  } finally {
    await sourceLease?.end();
  }
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
    : await store.head(source.key(leaseName(sourceLease.id)), context) !== undefined;
  if (!isSame) return;
  throw new UsageError(
    `Cannot copy "${source.name}" to "${store.url}": the source and the target are the same repository`,
  );
}

function leaseOptions(project: Project, { volume }: CopyOptions) {
  return { work: "copy" as const, volume: volume ?? project.name, host: hostname(), key: project.firstKey };
}

/** What was asked for: oldest first within a volume. */
async function findPlaces(source: Project, options: CopyOptions, context: Context): Promise<PointRef[]> {
  const { volume, point } = options;
  if (volume === undefined) return await listPoints(source, context);
  const backups = point === undefined
    ? await listBackupIds(source, volume, context)
    : [await findBackup(source, { volume, point }, context)];
  if (backups.length > 0) return backups.map((backup) => ({ volume, backup }));
  throw await noBackups(source, volume, context);
}

/** From here on as a backup does: the lease first, then the plans, then what is there. docs/gc.md. */
async function copyPlaces(
  source: Project,
  { target, places, options }: { target: Project; places: PointRef[]; options: CopyOptions },
  context: Context,
): Promise<Omit<CopyReport, "duration_s">> {
  const lease = await Lease.begin(target, leaseOptions(target, options), context);
  const workshop = new ChunkResources({ chunkBytes: source.chunkBytes, from: "store" }, context);
  const guarded = lease.guard(context);
  try {
    await lease.storeTimeMs(guarded.signal);
    await target.assertNotErased({ signal: guarded.signal });
    const condemned = await CondemnedObjects.read(target, guarded);
    const marked = await QuarantinedObjects.read(target, guarded);
    const { onProgress } = options;
    const copying = { source, target, workshop, condemned, marked, lease, onProgress };
    return { to: options.to.url, ...await copyMissing(copying, places, guarded) };
  } finally {
    await workshop.close();
    await lease.end();
  }
}
