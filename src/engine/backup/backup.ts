/**
 * Backup: source → chunks → hash, known?, compress, seal, upload → pages → manifest, last. docs/architecture.md has the
 * way of the data, docs/gc.md the order of its steps.
 */
import { hostname } from "node:os";
import { fileRecordsFolder } from "../../cache/cache_folder.ts";
import { type FileLook, lookOf, recordFile } from "../../cache/file_record.ts";
import type { ChunkCache } from "../../cache/chunk_cache.ts";
import type { LeafCache } from "../../cache/leaf_cache.ts";
import type { Secret } from "../../codec/keys.ts";
import { DamageError, describeError, InterruptedError, MissingError, VarveError } from "../../errors.ts";
import { backupId, backupTimeMs } from "../../format/backup_id.ts";
import { EntryList } from "../../format/entries.ts";
import { CHUNKS_PREFIX, manifestName } from "../../format/layout.ts";
import { MAX_VOLUME_BYTES, PAGE_CHUNKS } from "../../format/limits.ts";
import type { ChunkCounts } from "../../format/manifest.ts";
import { checkVolumeName } from "../../format/names.ts";
import { type SnapshotJson, snapshotToJson } from "../../format/snapshot_name.ts";
import type { Source, VolumeDiff } from "../../source/source.ts";
import { listBackupIds, type OpenManifest, readManifest } from "../catalog.ts";
import { openChunkCache, openLeafCache } from "../chunks/caches.ts";
import { ChunkWorkshop } from "../chunks/workshop.ts";
import { ChunkWriter } from "../chunks/write_chunk.ts";
import { commitManifest } from "./commit.ts";
import { Condemned } from "../gc/condemned.ts";
import type { Context } from "../context.ts";
import { findBase } from "./find_base.ts";
import { Lease } from "../gc/lease.ts";
import { PageTable } from "../page_table.ts";
import { MarkedObjects } from "../verify/marks.ts";
import { openProject, type Project } from "../project.ts";
import { randomBytes } from "../random.ts";
import type { Repository } from "../repository.ts";
import { VolumeCache } from "../volume_cache.ts";
import { VolumeWriter } from "./volume_writer.ts";

export interface BackupOptions {
  project: string;
  volume: string;
  source: Source;
  secret: Secret;
  tags: string[];
  onProgress?: ((progress: BackupProgress) => void) | undefined;
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
export interface BackupReport {
  backup: string;
  project: string;
  volume: string;
  from_snapshot: SnapshotJson;
  to_snapshot: SnapshotJson;
  size_bytes: number;
  stream_bytes: number;
  chunks: ChunkCounts;
  uploaded_bytes: number;
  /** Of chunks: leaves, patches, and what streams that cut blocks need. */
  downloaded_bytes: number;
  duration_s: number;
}

/** What one run holds while it works. */
interface Run {
  options: BackupOptions;
  project: Project;
  lease: Lease;
  condemned: Condemned;
  marked: MarkedObjects;
  workshop: ChunkWorkshop;
  cache: VolumeCache;
  chunkCache: ChunkCache | undefined;
  leafCache: LeafCache | undefined;
  /** The project held no chunk when the run began. */
  isFirst: boolean;
  /** The volume's newest backup when the run began, or the last one that the run has prepared. */
  latest: OpenManifest | undefined;
  /** By the store's clock. */
  startedMs: number;
}

/**
 * Backs up every difference that the source holds, one restore point each. No manifest is written before the whole
 * source was read and valid. Throws `StreamError`, `StoreError`, `conflict`, `wrong_secret`.
 */
export async function backup(
  repository: Repository,
  options: BackupOptions,
  context: Context,
): Promise<BackupReport[]> {
  checkVolumeName(options.volume);
  const project = await openProject(repository, {
    name: options.project,
    secret: options.secret,
    create: true,
  }, context);
  const lease = await beginLease(project, options, context);
  const guarded = lease.guard(context);
  const workshop = new ChunkWorkshop({ chunkBytes: project.chunkBytes, from: "stream" }, context);
  const cache = await VolumeCache.open({ project, volume: options.volume }, context);
  const chunkCache = openChunkCache(project, context);
  const leafCache = await openLeafCache(project, options.volume, context);
  try {
    const look = options.source.file === undefined ? undefined : await lookOf(options.source.file);
    const run = await beginRun({ options, project, lease, workshop, cache, chunkCache, leafCache }, guarded);
    const prepared = await storeAll(run, guarded);
    const manifests = prepared.map(({ manifest }) => manifest);
    await commitAll(run, manifests, guarded);
    if (manifests.length > 0) await cache.renew(manifests.at(-1)!);
    if (look !== undefined) await rememberFile(run, { look, manifest: manifests[0]! }, guarded);
    await chunkCache?.trim();
    return prepared.map(report);
  } finally {
    await cache.close();
    await leafCache?.close();
    await workshop.close();
    await lease.end();
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

/** After the lease is written, and in this order: the store's time, the key, the plans, the newest backup. */
async function beginRun(
  parts: Pick<Run, "options" | "project" | "lease" | "workshop" | "cache" | "chunkCache" | "leafCache">,
  context: Context,
): Promise<Run> {
  const { project, options } = parts;
  const seenMs = await parts.lease.seenMs(context.signal);
  await project.checkNotErased({ signal: context.signal });
  const condemned = await Condemned.read(project, context);
  const marked = await MarkedObjects.read(project, context);
  const id = (await listBackupIds(project, options.volume, context)).at(-1);
  const latest = id === undefined
    ? undefined
    : await readLatest(project, { ...options, backup: id }, context);
  if (latest !== undefined) parts.cache.expect(latest);
  // A store whose clock was put back must not make the newest backup look old.
  const startedMs = Math.max(seenMs, id === undefined ? 0 : backupTimeMs(id)! + 1);
  const isFirst = id === undefined && await holdsNothing(project, context);
  return { ...parts, condemned, marked, latest, startedMs, isFirst };
}

async function holdsNothing(project: Project, { signal }: Context): Promise<boolean> {
  for await (const _ of project.list(CHUNKS_PREFIX, { signal })) return false;
  return true;
}

/** The newest backup only spares uploads: one that is damaged must not keep the volume from being backed up. */
async function readLatest(project: Project, at: { volume: string; backup: string }, context: Context) {
  const place = { volume: at.volume, backup: at.backup };
  try {
    return await readManifest(project, place, context);
  } catch (error) {
    if (!(error instanceof DamageError || error instanceof MissingError)) throw error;
    context.log.warn(place, `${describeError(error)}; going on without it`);
    return undefined;
  }
}

/** A restore point that is stored but for its manifest. */
interface Prepared {
  manifest: OpenManifest;
  downloadedBytes: number;
}

/** Reads the whole source; the manifests of what it held, none of them written yet. */
async function storeAll(run: Run, context: Context): Promise<Prepared[]> {
  const prepared: Prepared[] = [];
  for await (const diff of run.options.source.diffs()) {
    const earlier = prepared.map(({ manifest }) => manifest);
    const point = await storeDiff(run, { diff, prepared: earlier }, context);
    prepared.push(point);
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
  const { project, options, workshop } = run;
  const startedMs = context.clock.now();
  checkSize(options, diff.sizeBytes);
  const atHand = run.latest === undefined ? work.prepared : [run.latest, ...work.prepared];
  const base = diff.fromSnapshot === undefined
    ? undefined
    : await findBase(project, { volume: options.volume, fromSnapshot: diff.fromSnapshot, atHand }, context);
  // A volume goes on under the key that its base is sealed with.
  const keys = base?.key ?? run.latest?.key ?? project.firstKey;
  const tableOptions = { project, key: keys, local: run.cache, signal: context.signal };
  const emptyPages = new EntryList(0);
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
    table: new PageTable(base?.pages ?? emptyPages, tableOptions),
    hints: base === undefined ? new PageTable(run.latest?.pages ?? emptyPages, tableOptions) : undefined,
    baseSizeBytes: base?.info.size_bytes ?? 0,
    chunkCache,
    onProgress: (progress) => options.onProgress?.({ ...progress, streamBytes: options.source.bytesRead }),
  }, context.signal);
  const { pages, counts, sizeBytes } = await volume.write(diff)
    .catch((error) => explainMissing(project, { error, base: base ?? run.latest }, context));
  checkSize(options, sizeBytes);
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
      base: base?.info.backup ?? null,
      tags: options.tags,
      host: hostname(),
      stream_bytes: options.source.bytesRead -
        work.prepared.reduce((sum, { info }) => sum + info.stream_bytes, 0),
      chunks: counts,
      uploaded_bytes: writer.uploadedBytes,
      duration_s: (context.clock.now() - startedMs) / 1000,
    },
  };
  return { manifest, downloadedBytes: volume.downloadedBytes };
}

/**
 * What a plan condemned before this run began may be swept under it as soon as its base is forgotten: then that is the
 * error, and the next run does without.
 */
async function explainMissing(
  project: Project,
  { error, base }: { error: unknown; base: OpenManifest | undefined },
  { signal }: Context,
): Promise<never> {
  if (!(error instanceof MissingError) || base === undefined) throw error;
  const { volume, backup } = base.info;
  const key = project.key(manifestName(volume, backup));
  if (await project.store.head(key, { signal }) !== undefined) throw error;
  throw new VarveError(
    "conflict",
    `Cannot back up "${project.name}/${volume}": its base was forgotten meanwhile; run it again`,
    { cause: error },
  );
}

function checkSize(options: BackupOptions, sizeBytes: number | undefined): void {
  if (sizeBytes === undefined || sizeBytes <= MAX_VOLUME_BYTES) return;
  throw new VarveError(
    "failed",
    `Cannot back up "${options.project}/${options.volume}": it has ${sizeBytes} bytes, more than ${MAX_VOLUME_BYTES}`,
  );
}

/** One after the other; an interruption in between says how far it came. */
async function commitAll(run: Run, manifests: readonly OpenManifest[], context: Context): Promise<void> {
  for (const [committed, manifest] of manifests.entries()) {
    if (context.signal.reason instanceof InterruptedError && committed > 0) {
      throw new InterruptedError(
        `Interrupted: ${committed} of ${manifests.length} restore points were committed`,
      );
    }
    context.signal.throwIfAborted();
    await commitManifest(run.project, { manifest, ...run, base: manifest.info.base }, context);
  }
}

/** A file that was not written to since the backup began is that backup: a restore to it need not read it. */
async function rememberFile(
  { options, project }: Run,
  { look, manifest }: { look: FileLook; manifest: OpenManifest },
  { cacheRoot }: Context,
): Promise<void> {
  if (cacheRoot === undefined) return;
  const { volume, backup } = manifest.info;
  const content = { repository: project.repositoryId, project: project.name, volume, backup };
  await recordFile(fileRecordsFolder(cacheRoot), options.source.file!, { known: look, content });
}

function report({ manifest: { info }, downloadedBytes }: Prepared): BackupReport {
  const { backup, project, volume, from_snapshot, to_snapshot, size_bytes, stream_bytes, chunks } = info;
  const { uploaded_bytes, duration_s } = info;
  return {
    backup,
    project,
    volume,
    from_snapshot,
    to_snapshot,
    size_bytes,
    stream_bytes,
    chunks,
    uploaded_bytes,
    downloaded_bytes: downloadedBytes,
    duration_s,
  };
}
