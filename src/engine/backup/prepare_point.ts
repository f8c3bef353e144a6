/**
 * One restore point of a backup: a difference of the source is read, its chunks and pages are stored, and its manifest is
 * made. Nothing refers to them until that is written.
 */
import type { ProjectKeys } from "../../codec/keys.ts";
import type { Context } from "../../context.ts";
import { describeError, VarveError } from "../../errors.ts";
import { backupId } from "../../format/backup_id.ts";
import { EntryList } from "../../format/entries.ts";
import { MAX_VOLUME_BYTES, maxVolumeBytes, PAGE_CHUNKS } from "../../format/limits.ts";
import type { ManifestInfo } from "../../format/manifest.ts";
import { snapshotToJson } from "../../format/snapshot_name.ts";
import type { OpenManifest } from "../../project/manifests.ts";
import type { VolumeDiff } from "../../sources/source.ts";
import { randomBytes } from "../../util/random.ts";
import { PageTable } from "../../volume/page_table.ts";
import type { WrittenObject } from "../../volume/present_objects.ts";
import { ChunkWriter } from "../../volume/write_chunk.ts";
import type { BackupRun } from "./backup_run.ts";
import { explainUnreadable, sayBroken } from "./broken_base.ts";
import { findBase } from "./find_base.ts";
import { SourceSample } from "./source_sample.ts";
import { VolumeWriter } from "./volume_writer.ts";

/** A restore point that is stored but for its manifest. */
export interface PreparedPoint {
  manifest: OpenManifest;
  /** Of what was put or found for it. */
  newest: WrittenObject | undefined;
  downloadedBytes: number;
  checkedChunks: number;
}

/** What is to be prepared. */
interface Preparation {
  diff: VolumeDiff;
  /** The points of the same source before it. */
  prepared: readonly PreparedPoint[];
  /** How many bytes of the stream belong to these. */
  streamFrom: number;
}

/** The point continues `base`, and everything of it is sealed under `keys`. */
interface Basis {
  base: OpenManifest | undefined;
  keys: ProjectKeys;
  table: PageTable;
  writer: ChunkWriter;
}

/** Stores all of a point but its manifest. Throws what `backup` throws. */
export async function preparePoint(
  run: BackupRun,
  preparation: Preparation,
  context: Context,
): Promise<PreparedPoint> {
  const { project, options } = run;
  assertSize(run, preparation.diff.sizeBytes);
  const basis = await findBasis(run, preparation, context);
  const { base, keys, table, writer } = basis;
  const sample = options.checkSample && await SourceSample.open(options.source, options.checkSample);
  const volume = await openVolumeWriter(run, { ...basis, sample }, context);
  const explain = (error: unknown) =>
    explainUnreadable(project, { error, base, volume: options.volume }, context);
  const { pages, counts, sizeBytes, broken } = await volume.write(preparation.diff).catch(explain);
  assertSize(run, sizeBytes);
  const checkedChunks = await sample?.compare({
    ...{ table, keys, sizeBytes, resources: run.resources, signal: context.signal },
    chunkBytes: project.chunkBytes,
    thing: `${project.name}/${options.volume}`,
    base: base?.info.backup,
  }).catch(explain) ?? 0;
  if (base !== undefined) sayBroken(base, broken, context);
  await writer.assertStored();
  const info = {
    ...describe(run, preparation, context),
    base: base?.info.backup ?? null,
    size_bytes: sizeBytes,
    chunks: counts,
    uploaded_bytes: writer.uploadedBytes,
    duration_s: durationOf(run, context) / 1000,
  };
  const { newest } = writer;
  return { manifest: { pages, keys, info }, newest, downloadedBytes: volume.downloadedBytes, checkedChunks };
}

/** Milliseconds since the run began, or its last point was prepared: waiting for the source is a part of it. */
function durationOf(run: BackupRun, { clock }: Context): number {
  const now = clock.now();
  const durationMs = Math.max(0, now - run.sinceMs);
  run.sinceMs = now;
  return durationMs;
}

async function findBasis(
  run: BackupRun,
  { diff, prepared }: Preparation,
  context: Context,
): Promise<Basis> {
  const { project, options, latest, earlier, resources, condemned, marked, lease, chunkCache, leafCache } =
    run;
  const manifests = prepared.map(({ manifest }) => manifest);
  const search = { diff, prepared: manifests, volume: options.volume, latest, earlier, named: options.base };
  const base = await findBase(project, search, context);
  // A volume goes on under the key that its base is sealed with.
  const keys = base?.keys ?? latest?.keys ?? project.firstKey;
  const table = openTable(run, { manifest: base, keys }, context);
  const writer = new ChunkWriter({
    ...{ project, keys, resources, condemned, marked, lease: lease.id, cache: chunkCache, leafCache },
    projectIsEmpty: run.projectIsEmpty && prepared.length === 0,
  }, context);
  return { base, keys, table, writer };
}

function openTable(
  { project, cache }: BackupRun,
  { manifest, keys }: { manifest: OpenManifest | undefined; keys: ProjectKeys },
  { signal }: Context,
): PageTable {
  return new PageTable(manifest?.pages ?? new EntryList(0), { project, keys, local: cache, signal });
}

async function openVolumeWriter(
  run: BackupRun,
  { base, keys, table, writer, sample }: Basis & { sample: SourceSample | undefined },
  context: Context,
): Promise<VolumeWriter> {
  const { project, options, resources, marked, condemned, chunkCache, latest } = run;
  return new VolumeWriter({
    ...{ project, resources, writer, marked, table, chunkCache },
    doubt: base && await condemned.against(base.info),
    covered: sample?.covered,
    previous: base === undefined ? openTable(run, { manifest: latest, keys }, context) : undefined,
    onLostPage: (error) =>
      context.log.warn({}, `${describeError(error)}; its chunks are looked up one by one`),
    baseSizeBytes: base?.info.size_bytes ?? 0,
    onProgress: (progress) => options.onProgress?.({ ...progress, streamBytes: options.source.bytesRead }),
  }, context.signal);
}

/** What of the manifest is known without the volume's content. */
function describe(
  { project, options, passedOver, startedMs }: BackupRun,
  { diff, prepared, streamFrom }: Preparation,
  { host }: Context,
): Omit<ManifestInfo, "base" | "size_bytes" | "chunks" | "uploaded_bytes" | "duration_s"> {
  const timeMs = startedMs + prepared.length;
  return {
    backup: backupId(timeMs, randomBytes(4)),
    project: project.name,
    volume: options.volume,
    time: new Date(timeMs).toISOString(),
    chunk_bytes: project.chunkBytes,
    page_chunks: PAGE_CHUNKS,
    from_snapshot: snapshotToJson(diff.fromSnapshot),
    to_snapshot: snapshotToJson(diff.toSnapshot),
    ...diff.ids,
    ...(passedOver.length === 0 ? {} : { passed_over: [...passedOver] }),
    tags: options.tags,
    host,
    stream_bytes: options.source.bytesRead - streamFrom,
  };
}

function assertSize({ options, project: { chunkBytes } }: BackupRun, sizeBytes = 0): void {
  const cannot =
    `Cannot back up "${options.project}/${options.volume}": its size is ${sizeBytes} bytes, more than`;
  if (sizeBytes > MAX_VOLUME_BYTES) throw new VarveError("failed", `${cannot} ${MAX_VOLUME_BYTES}`);
  const most = maxVolumeBytes(chunkBytes);
  if (sizeBytes <= most) return;
  throw new VarveError("failed", `${cannot} the ${most} possible with chunks of ${chunkBytes} bytes`);
}
