/**
 * Backup: source → chunks → hash, known?, compress, seal, upload → pages → manifest, last. docs/architecture.md has the
 * way of the data, docs/gc.md the order of its steps.
 */
import { type FileLook, lookOf, recordFile } from "../../cache/file_record.ts";
import type { Context } from "../../context.ts";
import { describeError, InterruptedError, VarveError } from "../../errors.ts";
import { backupId } from "../../format/backup_id.ts";
import { CHUNKS_PREFIX } from "../../format/layout.ts";
import type { ChunkCounts } from "../../format/manifest.ts";
import { assertVolumeName } from "../../format/names.ts";
import type { SnapshotJson } from "../../format/snapshot_name.ts";
import { type KnownIds, knownIds } from "../../format/source_ids.ts";
import { cachePlace } from "../../project/cache_place.ts";
import type { OpenManifest } from "../../project/manifests.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { goneProject, noteOwn } from "../../project/seen_points.ts";
import { CondemnedObjects } from "../../project/sharing/condemned.ts";
import { QuarantinedObjects } from "../../project/sharing/quarantine.ts";
import { withLease } from "../../project/sharing/with_lease.ts";
import { openChunkCache, openLeafCache } from "../../volume/caches.ts";
import { commitManifest } from "../../volume/commit.ts";
import { EarlierPoints, namesUsedAgain } from "../../volume/earlier_points.ts";
import { PageCache } from "../../volume/page_cache.ts";
import { later } from "../../volume/present_objects.ts";
import { ChunkResources } from "../../volume/resources.ts";
import { prepareSource, tellSource } from "../../volume/source_state.ts";
import { findLatest } from "./find_latest.ts";
import type { BackupOptions, BackupRun } from "./backup_run.ts";
import { type PreparedPoint, preparePoint } from "./prepare_point.ts";
import { assertReadable } from "./source_sample.ts";

export interface BackupRequest extends BackupOptions {
  /** Told of the points once they are committed: what follows puts things in order, and may take a while. */
  onCommitted?: ((reports: BackupReport[]) => void) | undefined;
}

/** The JSON of `varve backup`. */
export interface BackupReport extends KnownIds {
  backup: string;
  project: string;
  volume: string;
  from_snapshot: SnapshotJson;
  to_snapshot: SnapshotJson;
  /** The backup that the source was a difference to; `null`: a full one. */
  base: string | null;
  size_bytes: number;
  stream_bytes: number;
  chunks: ChunkCounts;
  uploaded_bytes: number;
  /** Of chunks: leaves, patches, and what streams that cut blocks need. */
  downloaded_bytes: number;
  /** Chunks that did not come in as a whole, and were compared with the source. */
  checked_chunks: number;
  duration_s: number;
}

/**
 * Backs up every difference that the source holds, one restore point each. No manifest is written before the whole
 * source was read and valid. Throws `StreamError`, `StoreError`, `conflict`, `wrong_secret`, `UsageError`.
 */
export async function backup(
  repository: Repository,
  options: BackupRequest,
  context: Context,
): Promise<BackupReport[]> {
  const sinceMs = context.clock.now();
  const { volume } = options;
  assertVolumeName(volume);
  if (options.checkSample !== undefined) assertReadable(options.source);
  // Whatever else of the project is damaged, the new point is whole: that is logged, and is no reason to fail.
  const onProblem = (problem: VarveError) => context.log.warn({}, describeError(problem));
  const logging = { ...context, onProblem };
  const project = await openMade(repository, options, logging);
  return await withLease(project, { work: "backup", volume }, logging, async (lease, guarded) => {
    await using resources = new ChunkResources({ chunkBytes: project.chunkBytes, from: "stream" }, context);
    await using cache = await PageCache.open({ project, volume }, context);
    await using chunkCache = openChunkCache(project, context);
    await using leafCache = await openLeafCache(project, volume, context);
    const look = options.source.file === undefined ? undefined : await lookOf(options.source.file);
    const parts = { options, project, lease, resources, cache, chunkCache, leafCache, sinceMs };
    const run = await beginRun(parts, guarded);
    await prepareSource(run, guarded);
    const prepared = await prepareAll(run, guarded);
    const infos = prepared.map(({ manifest }) => manifest.info);
    const usedAgain = await namesUsedAgain(run.earlier, infos, guarded);
    await commitAll(run, prepared, guarded);
    if (usedAgain !== undefined) context.log.warn({}, usedAgain);
    const reports = prepared.map(report);
    const last = prepared.at(-1)?.manifest;
    if (last !== undefined) await noteOwn(project, last.info, context);
    options.onCommitted?.(reports);
    await finish(run, { look, prepared }, guarded).catch((error) => {
      throw guarded.signal.reason instanceof InterruptedError ? interruptedAfter(reports.length) : error;
    });
    return reports;
  });
}

/** The project, which nothing but `varve init` makes: a mistyped name must not begin a new one. */
async function openMade(
  repository: Repository,
  { project: name, secrets }: BackupOptions,
  context: Context,
): Promise<Project> {
  try {
    return await openProject(repository, { name, secrets, isNamed: true }, context);
  } catch (cause) {
    if (!(cause instanceof VarveError) || cause.code !== "not_found") throw cause;
    const gone = await goneProject(repository, name, context);
    if (gone !== undefined) throw new VarveError("not_found", `Cannot back up to "${name}": ${gone}`);
    throw new VarveError("not_found", `${cause.message}; create it with "varve init ${name}"`);
  }
}

/** After the lease is written: the store's time, the key, the plans and the marks, side by side, then the newest backup. */
async function beginRun(
  parts: Omit<
    BackupRun,
    "condemned" | "marked" | "projectIsEmpty" | "latest" | "passedOver" | "earlier" | "startedMs"
  >,
  context: Context,
): Promise<BackupRun> {
  const { project, options } = parts;
  const [storeTimeMs, condemned, marked] = await Promise.all([
    parts.lease.storeTimeMs(context.signal),
    CondemnedObjects.read(project, context),
    QuarantinedObjects.read(project, context),
    project.assertNotErased({ signal: context.signal }),
  ]);
  const place = { volume: options.volume, storeTimeMs };
  const { latest, latestMs = -Infinity, passedOver, isNone } = await findLatest(project, place, context);
  if (latest !== undefined) parts.cache.expect(latest);
  const startedMs = Math.max(storeTimeMs, latestMs + 1);
  assertTime(options, startedMs);
  const projectIsEmpty = isNone && await holdsNothing(project, context);
  const earlier = new EarlierPoints(project, { volume: options.volume, passedOver });
  return { ...parts, condemned, marked, latest, passedOver, earlier, startedMs, projectIsEmpty };
}

/** Before the source is read: a store's clock may say anything. */
function assertTime({ project, volume }: BackupOptions, startedMs: number): void {
  try {
    backupId(startedMs, new Uint8Array(4));
  } catch (cause) {
    throw new VarveError(
      "failed",
      `Cannot back up "${project}/${volume}": the clock of the store is wrong; correct it and retry`,
      { cause },
    );
  }
}

async function holdsNothing(project: Project, { signal }: Context): Promise<boolean> {
  for await (const _ of project.list(CHUNKS_PREFIX, { signal })) return false;
  return true;
}

/** Reads the whole source, and prepares one point for each of its differences. */
async function prepareAll(run: BackupRun, context: Context): Promise<PreparedPoint[]> {
  const { source } = run.options;
  const prepared: PreparedPoint[] = [];
  let streamFrom = 0;
  for await (const diff of source.diffs()) {
    const point = await preparePoint(run, { diff, prepared, streamFrom }, context);
    // It may refer to all that those before it refer to.
    prepared.push({ ...point, newest: later(prepared.at(-1)?.newest, point.newest) });
    run.latest = point.manifest;
    streamFrom = source.bytesRead;
  }
  return prepared;
}

/** One after the other; an interruption in between says how far it came. */
async function commitAll(
  run: BackupRun,
  prepared: readonly PreparedPoint[],
  context: Context,
): Promise<void> {
  for (const [committed, { manifest, newest }] of prepared.entries()) {
    if (context.signal.reason instanceof InterruptedError && committed > 0) {
      throw new InterruptedError(
        `Interrupted: ${committed} of ${prepared.length} restore points were stored`,
      );
    }
    context.signal.throwIfAborted();
    await commitManifest(run.project, { manifest, ...run, newest }, context);
  }
}

/** What makes the next run cheaper. */
async function finish(
  run: BackupRun,
  { look, prepared }: { look: FileLook | undefined; prepared: readonly PreparedPoint[] },
  context: Context,
): Promise<void> {
  await tellSource(run, context);
  context.signal.throwIfAborted();
  const last = prepared.at(-1)?.manifest;
  if (last !== undefined) await run.cache.renew(last, { isLatest: true });
  if (look !== undefined) await rememberFile(run, { look, manifest: prepared[0]!.manifest }, context);
}

function interruptedAfter(points: number): InterruptedError {
  const state = points === 1
    ? "the restore point was committed"
    : `all ${points} restore points were committed`;
  return new InterruptedError(`Interrupted: ${state}; only what follows was not finished`);
}

/** A file that was not written to since the backup began is that backup: a restore to it need not read it. */
async function rememberFile(
  { options, project }: BackupRun,
  { look, manifest }: { look: FileLook; manifest: OpenManifest },
  context: Context,
): Promise<void> {
  const place = cachePlace(project, context);
  if (place === undefined) return;
  const { volume, backup } = manifest.info;
  const content = { repository: project.repositoryId, project: project.name, volume, backup };
  await recordFile(place, options.source.file!, { known: look, content });
}

function report({ manifest: { info }, downloadedBytes, checkedChunks }: PreparedPoint): BackupReport {
  const { backup, project, volume, from_snapshot, to_snapshot, size_bytes, stream_bytes, chunks } = info;
  const { base, uploaded_bytes, duration_s } = info;
  return {
    backup,
    project,
    volume,
    from_snapshot,
    to_snapshot,
    ...knownIds(info),
    base,
    size_bytes,
    stream_bytes,
    chunks,
    uploaded_bytes,
    downloaded_bytes: downloadedBytes,
    checked_chunks: checkedChunks,
    duration_s,
  };
}
