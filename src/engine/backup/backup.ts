/**
 * Backup: source → chunks → hash, known?, compress, seal, upload → pages → manifest, last. docs/architecture.md has the
 * way of the data, docs/gc.md the order of its steps.
 */
import { hostname } from "node:os";
import { type FileLook, lookOf, recordFile } from "../../cache/file_record.ts";
import type { ChunkCache } from "../../cache/chunk_cache.ts";
import type { LeafCache } from "../../cache/leaf_cache.ts";
import type { Secret } from "../../codec/keys.ts";
import { describeError, InterruptedError, VarveError } from "../../errors.ts";
import { backupId } from "../../format/backup_id.ts";
import { EntryList } from "../../format/entries.ts";
import { CHUNKS_PREFIX } from "../../format/layout.ts";
import { MAX_VOLUME_BYTES, maxVolumeBytes, PAGE_CHUNKS } from "../../format/limits.ts";
import type { ChunkCounts } from "../../format/manifest.ts";
import { assertVolumeName } from "../../format/names.ts";
import { type SnapshotJson, snapshotToJson } from "../../format/snapshot_name.ts";
import { type KnownIds, knownIds } from "../../format/source_ids.ts";
import type { Source, VolumeDiff } from "../../sources/source.ts";
import type { OpenManifest } from "../../project/catalog.ts";
import { cachePlace } from "../../project/cache_place.ts";
import { openChunkCache, openLeafCache } from "../../volume/caches.ts";
import { later, type WrittenObject } from "../../volume/present_objects.ts";
import { ChunkResources } from "../../volume/resources.ts";
import { ChunkWriter } from "../../volume/write_chunk.ts";
import { commitManifest } from "../../volume/commit.ts";
import { CondemnedObjects } from "../../project/sharing/condemned.ts";
import type { Context } from "../../context.ts";
import { explainUnreadable, sayBroken } from "./broken_base.ts";
import { prepareSource, tellSource } from "../../volume/source_state.ts";
import { EarlierPoints, namesUsedAgain } from "../../volume/earlier_points.ts";
import { findBase } from "./find_base.ts";
import { findLatest } from "./find_latest.ts";
import { Lease } from "../../project/sharing/lease.ts";
import { PageTable } from "../../volume/page_table.ts";
import { QuarantinedObjects } from "../../project/sharing/quarantine.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import { randomBytes } from "../../util/random.ts";
import type { Repository } from "../../project/repository.ts";
import { noteOwn, sayIfProjectIsGone } from "../../project/seen_points.ts";
import { PageCache } from "../../volume/page_cache.ts";
import { assertReadable, type SampleOptions, SourceSample } from "./source_sample.ts";
import { VolumeWriter } from "./volume_writer.ts";

export interface BackupOptions {
  project: string;
  volume: string;
  source: Source;
  secrets: readonly Secret[];
  tags: string[];
  /** The point that an increment begins at, where its snapshot's name does not tell. */
  base?: string | undefined;
  /** Of a source that can be read anywhere: how much of what its differences leave out is compared with it. */
  checkSample?: SampleOptions | undefined;
  onProgress?: ((progress: BackupProgress) => void) | undefined;
  /** Told of the points once they are committed: what follows puts things in order, and may take a while. */
  onCommitted?: ((reports: BackupReport[]) => void) | undefined;
}

export interface BackupProgress {
  /** Of the volume, once known. */
  sizeBytes: number | undefined;
  /** The offset of the volume that was reached. */
  position: number;
  streamBytes: number;
  newBytes: number;
  reusedBytes: number;
  zeroBytes: number;
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

/** What one run holds while it works. */
interface Run {
  options: BackupOptions;
  project: Project;
  lease: Lease;
  condemned: CondemnedObjects;
  marked: QuarantinedObjects;
  workshop: ChunkResources;
  cache: PageCache;
  chunkCache: ChunkCache | undefined;
  leafCache: LeafCache | undefined;
  /** The project held no chunk when the run began. */
  isFirst: boolean;
  /** The volume's newest backup when the run began, or the last one that the run has prepared. */
  latest: OpenManifest | undefined;
  /** Backups that are older than their dates say. */
  passedOver: readonly string[];
  earlier: EarlierPoints;
  /** By the store's clock. */
  startedMs: number;
}

/**
 * Backs up every difference that the source holds, one restore point each. No manifest is written before the whole
 * source was read and valid. Throws `StreamError`, `StoreError`, `conflict`, `wrong_secret`, `UsageError`.
 */
export async function backup(
  repository: Repository,
  options: BackupOptions,
  context: Context,
): Promise<BackupReport[]> {
  assertVolumeName(options.volume);
  if (options.checkSample !== undefined) assertReadable(options.source);
  // Whatever else of the project is damaged, the new point is whole: that is said, and no reason to fail.
  const told = {
    ...context,
    onProblem: (problem: VarveError) => context.log.warn({}, describeError(problem)),
  };
  const project = await openMade(repository, options, told)
    .catch((error) => sayIfProjectIsGone(repository, { project: options.project, error }, told));
  const lease = await beginLease(project, options, context);
  const guarded = lease.guard(told);
  const workshop = new ChunkResources({ chunkBytes: project.chunkBytes, from: "stream" }, context);
  const cache = await PageCache.open({ project, volume: options.volume }, context);
  const chunkCache = openChunkCache(project, context);
  const leafCache = await openLeafCache(project, options.volume, context);
  try {
    const look = options.source.file === undefined ? undefined : await lookOf(options.source.file);
    const run = await beginRun({ options, project, lease, workshop, cache, chunkCache, leafCache }, guarded);
    await prepareSource(run, guarded);
    const prepared = await storeAll(run, guarded);
    const manifests = prepared.map(({ manifest }) => manifest);
    const usedAgain = await namesUsedAgain(run.earlier, manifests.map(({ info }) => info), guarded);
    await commitAll(run, prepared, guarded);
    if (usedAgain !== undefined) context.log.warn({}, usedAgain);
    const reports = prepared.map(report);
    if (manifests.length > 0) await noteOwn(project, manifests.at(-1)!.info, context);
    options.onCommitted?.(reports);
    await finish(run, { look, manifests }, guarded).catch((error) => {
      throw guarded.signal.reason instanceof InterruptedError ? interruptedAfter(reports.length) : error;
    });
    return reports;
  } finally {
    await cache.close();
    await leafCache?.close();
    await workshop.close();
    await lease.end();
  }
}

/** The project, which nothing but `varve init` makes: a mistyped name must not begin a new one. */
async function openMade(
  repository: Repository,
  { project: name, secrets }: BackupOptions,
  context: Context,
): Promise<Project> {
  try {
    return await openProject(repository, { name, secrets }, context);
  } catch (cause) {
    if (!(cause instanceof VarveError) || cause.code !== "not_found") throw cause;
    throw new VarveError("not_found", `${cause.message}; make it with "varve init ${name}"`);
  }
}

async function beginLease(project: Project, options: BackupOptions, context: Context): Promise<Lease> {
  const { volume } = options;
  return await Lease.begin(
    project,
    { work: "backup", volume, host: hostname(), key: project.firstKey },
    context,
  );
}

/** After the lease is written: the store's time, the key, the plans and the marks, side by side, then the newest backup. */
async function beginRun(
  parts: Pick<Run, "options" | "project" | "lease" | "workshop" | "cache" | "chunkCache" | "leafCache">,
  context: Context,
): Promise<Run> {
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
  const isFirst = isNone && await holdsNothing(project, context);
  const earlier = new EarlierPoints(project, { volume: options.volume, passedOver });
  return { ...parts, condemned, marked, latest, passedOver, earlier, startedMs, isFirst };
}

/** Before the source is read: a store's clock may say anything. */
function assertTime({ project, volume }: BackupOptions, startedMs: number): void {
  try {
    backupId(startedMs, new Uint8Array(4));
  } catch (cause) {
    throw new VarveError(
      "failed",
      `Cannot back up "${project}/${volume}": the clock of the store is wrong; set it, and run it again`,
      { cause },
    );
  }
}

async function holdsNothing(project: Project, { signal }: Context): Promise<boolean> {
  for await (const _ of project.list(CHUNKS_PREFIX, { signal })) return false;
  return true;
}

/** A restore point that is stored but for its manifest. */
interface Prepared {
  manifest: OpenManifest;
  /** Of what was put or found for it. */
  newest: WrittenObject | undefined;
  downloadedBytes: number;
  checkedChunks: number;
}

/** Reads the whole source; the manifests of what it held, none of them written yet. */
async function storeAll(run: Run, context: Context): Promise<Prepared[]> {
  const prepared: Prepared[] = [];
  for await (const diff of run.options.source.diffs()) {
    const earlier = prepared.map(({ manifest }) => manifest);
    const point = await storeDiff(run, { diff, prepared: earlier }, context);
    // It may refer to all that those before it refer to.
    prepared.push({ ...point, newest: later(prepared.at(-1)?.newest, point.newest) });
    run.latest = point.manifest;
  }
  return prepared;
}

async function storeDiff(
  run: Run,
  work: { diff: VolumeDiff; prepared: readonly OpenManifest[] },
  context: Context,
): Promise<Prepared> {
  const { diff } = work;
  const { project, options, workshop, passedOver } = run;
  const startedMs = context.clock.now();
  assertSize(run, diff.sizeBytes);
  const { latest, earlier } = run;
  const search = { ...work, volume: options.volume, latest, earlier, named: options.base };
  const base = await findBase(project, search, context);
  // A volume goes on under the key that its base is sealed with.
  const keys = base?.key ?? run.latest?.key ?? project.firstKey;
  const tableOptions = { project, key: keys, local: run.cache, signal: context.signal };
  const emptyPages = new EntryList(0);
  const table = new PageTable(base?.pages ?? emptyPages, tableOptions);
  const sample = options.checkSample && await SourceSample.open(options.source, options.checkSample);
  const { condemned, marked, lease, chunkCache, leafCache, isFirst } = run;
  const writer = new ChunkWriter(
    {
      project,
      keys,
      workshop,
      condemned,
      marked,
      lease: lease.id,
      cache: chunkCache,
      leafCache,
      isFirst: isFirst && work.prepared.length === 0,
    },
    context,
  );
  const volume = new VolumeWriter({
    project,
    workshop,
    writer,
    doubt: base && await condemned.against(base.info),
    marked,
    table,
    covered: sample?.covered,
    hints: base === undefined ? new PageTable(latest?.pages ?? emptyPages, tableOptions) : undefined,
    onLostHints: (error) =>
      context.log.warn({}, `${describeError(error)}; the chunks that it names are looked for one by one`),
    baseSizeBytes: base?.info.size_bytes ?? 0,
    chunkCache,
    onProgress: (progress) => options.onProgress?.({ ...progress, streamBytes: options.source.bytesRead }),
  }, context.signal);
  const explain = (error: unknown) =>
    explainUnreadable(project, { error, base, volume: options.volume }, context);
  const { pages, counts, sizeBytes, broken } = await volume.write(diff).catch(explain);
  assertSize(run, sizeBytes);
  const checkedChunks = await sample?.compare({
    ...{ table, key: keys, sizeBytes, workshop, signal: context.signal },
    chunkBytes: project.chunkBytes,
    thing: `${project.name}/${options.volume}`,
    base: base?.info.backup,
  }).catch(explain) ?? 0;
  if (base !== undefined) sayBroken(base, broken, context);
  await writer.assertStored();
  const manifest = {
    pages,
    key: keys,
    info: {
      backup: backupId(run.startedMs + work.prepared.length, randomBytes(4)),
      project: project.name,
      volume: options.volume,
      time: new Date(run.startedMs + work.prepared.length).toISOString(),
      size_bytes: sizeBytes,
      chunk_bytes: project.chunkBytes,
      page_chunks: PAGE_CHUNKS,
      from_snapshot: snapshotToJson(diff.fromSnapshot),
      to_snapshot: snapshotToJson(diff.toSnapshot),
      ...diff.ids,
      base: base?.info.backup ?? null,
      ...(passedOver.length === 0 ? {} : { passed_over: [...passedOver] }),
      tags: options.tags,
      host: hostname(),
      stream_bytes: options.source.bytesRead -
        work.prepared.reduce((sum, { info }) => sum + info.stream_bytes, 0),
      chunks: counts,
      uploaded_bytes: writer.uploadedBytes,
      duration_s: Math.max(0, context.clock.now() - startedMs) / 1000,
    },
  };
  return { manifest, newest: writer.newest, downloadedBytes: volume.downloadedBytes, checkedChunks };
}

function assertSize({ options, project: { chunkBytes } }: Run, sizeBytes = 0): void {
  const cannot =
    `Cannot back up "${options.project}/${options.volume}": it has ${sizeBytes} bytes, more than`;
  if (sizeBytes > MAX_VOLUME_BYTES) throw new VarveError("failed", `${cannot} ${MAX_VOLUME_BYTES}`);
  const most = maxVolumeBytes(chunkBytes);
  if (sizeBytes <= most) return;
  throw new VarveError("failed", `${cannot} the ${most} that chunks of ${chunkBytes} bytes allow`);
}

/** One after the other; an interruption in between says how far it came. */
async function commitAll(run: Run, prepared: readonly Prepared[], context: Context): Promise<void> {
  for (const [committed, { manifest, newest }] of prepared.entries()) {
    if (context.signal.reason instanceof InterruptedError && committed > 0) {
      throw new InterruptedError(
        `Interrupted: ${committed} of ${prepared.length} restore points were committed`,
      );
    }
    context.signal.throwIfAborted();
    await commitManifest(run.project, { manifest, ...run, newest }, context);
  }
}

/** What makes the next run cheaper. */
async function finish(
  run: Run,
  { look, manifests }: { look: FileLook | undefined; manifests: readonly OpenManifest[] },
  context: Context,
): Promise<void> {
  await tellSource(run, context);
  context.signal.throwIfAborted();
  if (manifests.length > 0) await run.cache.renew(manifests.at(-1)!, { isLatest: true });
  if (look !== undefined) await rememberFile(run, { look, manifest: manifests[0]! }, context);
  await run.chunkCache?.trim();
}

function interruptedAfter(points: number): InterruptedError {
  const state = points === 1
    ? "the restore point was committed"
    : `all ${points} restore points were committed`;
  return new InterruptedError(`Interrupted: ${state}; only what follows was not finished`);
}

/** A file that was not written to since the backup began is that backup: a restore to it need not read it. */
async function rememberFile(
  { options, project }: Run,
  { look, manifest }: { look: FileLook; manifest: OpenManifest },
  context: Context,
): Promise<void> {
  const place = cachePlace(project, context);
  if (place === undefined) return;
  const { volume, backup } = manifest.info;
  const content = { repository: project.repositoryId, project: project.name, volume, backup };
  await recordFile(place, options.source.file!, { known: look, content });
}

function report({ manifest: { info }, downloadedBytes, checkedChunks }: Prepared): BackupReport {
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
