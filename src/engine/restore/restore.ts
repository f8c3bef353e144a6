/**
 * Restore: what is known of the target → plan → compare, fetch, verify, write → sync → read back. The use case as the
 * list of its stages; docs/architecture.md, "Restore".
 */
import { lookOf, recordedContent, recordFile } from "../../cache/file_record.ts";
import { cachePlace } from "../../project/cache_place.ts";
import type { Secret } from "../../codec/keys.ts";
import { unlessUnreadable, UsageError, VarveError } from "../../errors.ts";
import type { ManifestInfo } from "../../format/manifest.ts";
import type { Source } from "../../sources/source.ts";
import type { Target } from "../../targets/target.ts";
import { findBackup } from "../../project/find_backup.ts";
import { type OpenManifest, readManifest } from "../../project/manifests.ts";
import { noChanges, readChanges } from "./changed_chunks.ts";
import { openChunkCache } from "../../volume/caches.ts";
import { ChunkResources } from "../../volume/resources.ts";
import type { Context } from "../../context.ts";
import { withLeaseIfWritable } from "../../project/sharing/with_lease.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { type KnownState, planRestore, type RestorePlan } from "./restore_plan.ts";
import type { ByteRange } from "../../util/byte_ranges.ts";
import { SharedChunks } from "./shared_chunks.ts";
import { type DamagedRange, type RestoreCounts, type RestoreProgress, Restorer } from "./restorer.ts";
import { verifyTarget } from "./verify_target.ts";
import { PageCache } from "../../volume/page_cache.ts";

export type { DamagedRange, RestoreProgress } from "./restorer.ts";

export interface RestoreOptions {
  project: string;
  volume: string;
  point: string | undefined;
  secrets: readonly Secret[];
  /** Go on after a damaged chunk; what it should have written is left as it is and reported. */
  keepGoing: boolean;
  /** Called once it is clear what has to be restored. */
  openTarget: (wanted: TargetRequest) => Promise<Target>;
  /** The target equals the backup at `point`, except for what the stream `changes` names. */
  known?: { point: string; changes?: Source | undefined } | undefined;
  /** Believe that a file which looks as it did after its last restore or backup still has that content. */
  trustCache: boolean;
  /** Only these bytes of the volume; without a length up to its end. */
  part?: { offset: number; length: number | undefined } | undefined;
  /** Compare and count, change nothing. */
  dryRun: boolean;
  /** Read everything back from the device in the end. */
  verifyTarget: boolean;
  onProgress?: ((progress: RestoreProgress) => void) | undefined;
}

export interface TargetRequest {
  info: ManifestInfo;
  /** The backup that the target is said to be. */
  base: ManifestInfo | undefined;
  /** One past the last byte of the volume that is restored. */
  end: number;
}

/** How the target is brought up to date. */
type RestoreStrategy = "new" | "compare" | "changes" | "unchanged";

/** The JSON of `varve restore`. The target equals the backup only where `damaged` is empty and it was no dry run. */
export interface RestoreReport {
  backup: string;
  /** How the target was brought up to date, and why so. */
  way: RestoreStrategy;
  reason: string;
  size_bytes: number;
  chunks: RestoreCounts;
  /** Of the target, to compare. */
  read_bytes: number;
  downloaded_bytes: number;
  written_bytes: number;
  /** With `verifyTarget`: read back and right. */
  verified_bytes: number;
  duration_s: number;
  damaged: DamagedRange[];
  /** Of a dry run: nothing was written; `download_bytes_max` is what the chunks to write have in plain. */
  dry_run?: { download_bytes_max: number };
}

/** What one restore holds while it works. */
interface RestoreRun {
  options: RestoreOptions;
  project: Project;
  manifest: OpenManifest;
  known: KnownState | undefined;
  range: ByteRange;
  target: Target;
  cache: PageCache;
  way: RestoreStrategy;
  reason: string;
}

/**
 * Brings the target to the state of the backup. Throws `DamageError` at the first damaged chunk unless `keepGoing`; an
 * error of store or target at once. The target is as the backup says only if this returns with nothing damaged.
 */
export async function restore(
  repository: Repository,
  options: RestoreOptions,
  context: Context,
): Promise<RestoreReport> {
  const startedMs = context.clock.now();
  const name = options.project;
  const project = await openProject(
    repository,
    { name, secrets: options.secrets, isNamed: true },
    context,
  );
  const about = { work: "restore", volume: options.volume } as const;
  const work = () => restoreInto(project, options, context);
  // A gc waits for it; where we may not write, the restore goes on all the same. A dry run writes nothing at all.
  const report = options.dryRun ? await work() : await withLeaseIfWritable(project, about, context, work);
  return { ...report, duration_s: (context.clock.now() - startedMs) / 1000 };
}

async function restoreInto(
  project: Project,
  options: RestoreOptions,
  context: Context,
): Promise<Omit<RestoreReport, "duration_s">> {
  await using cache = await PageCache.open({ project, volume: options.volume }, context);
  const manifest = await readPoint(project, options, context);
  cache.expect(manifest);
  const range = rangeOf(options, manifest.info);
  const declared = await readDeclaredState(project, options, context);
  const target = await options.openTarget({
    info: manifest.info,
    base: declared?.base.info,
    end: range.offset + range.length,
  });
  try {
    if (declared !== undefined && options.known?.changes !== undefined) {
      assertLargeEnough(target, declared, range);
    }
    const remembered = declared === undefined
      ? await rememberedState(project, { target, options }, context)
      : undefined;
    const strategy = chooseStrategy({ target, declared, remembered });
    context.log.info({ way: strategy.way, target: target.name }, strategy.reason);
    const run = {
      options,
      project,
      manifest,
      known: declared ?? remembered,
      range,
      target,
      cache,
      ...strategy,
    };
    return await transfer(run, context);
  } finally {
    await target.close();
  }
}

async function readPoint(
  project: Project,
  { volume, point }: { volume: string; point: string | undefined },
  context: Context,
): Promise<OpenManifest> {
  const backup = await findBackup(project, { volume, point }, context);
  return await readManifest(project, { volume, backup }, context);
}

/** The bytes that are asked for. Throws `UsageError` where the volume does not have them. */
function rangeOf(
  { part, volume, verifyTarget }: RestoreOptions,
  { size_bytes, chunk_bytes }: ManifestInfo,
): ByteRange {
  if (part === undefined) return { offset: 0, length: size_bytes };
  const { offset, length = Math.max(0, size_bytes - offset) } = part;
  const end = offset + length;
  const cannot = `Cannot restore ${length} bytes at offset ${offset} of "${volume}":`;
  if (end > size_bytes) throw new UsageError(`${cannot} its size is ${size_bytes} bytes`);
  const isWholeChunks = offset % chunk_bytes === 0 && (end % chunk_bytes === 0 || end === size_bytes);
  if (verifyTarget && !isWholeChunks) {
    throw new UsageError(
      `${cannot} with --verify-target, offset and length must be multiples of ${chunk_bytes} bytes`,
    );
  }
  return { offset, length };
}

/** What the operator says that the target holds. */
async function readDeclaredState(
  project: Project,
  options: RestoreOptions,
  context: Context,
): Promise<KnownState | undefined> {
  if (options.known === undefined) return undefined;
  const { point, changes } = options.known;
  const base = await readPoint(project, { volume: options.volume, point }, context);
  return { base, changed: changes === undefined ? noChanges(base) : await readChanges(changes, base) };
}

/** What is too short cannot be what the operator takes it for, and what was left out as the same would be missing. */
function assertLargeEnough(
  target: Target,
  { base, changed }: KnownState,
  { offset, length }: ByteRange,
): void {
  const knownBytes = Math.min(changed.sizeBytes, offset + length);
  if (target.readableBytes >= knownBytes) return;
  const { backup } = base.info;
  throw new VarveError(
    "failed",
    `Cannot restore to "${target.name}": it is too small (${target.readableBytes} bytes) ` +
      `to be restore point ${backup} (${knownBytes} bytes)`,
  );
}

/** What this host remembers of the target: a file that looks as it did when it was known to be a backup of the volume. */
async function rememberedState(
  project: Project,
  { target, options }: { target: Target; options: RestoreOptions },
  context: Context,
): Promise<KnownState | undefined> {
  const { file } = target;
  const place = cachePlace(project, context);
  if (!options.trustCache || place === undefined || file === undefined || target.empty) return undefined;
  const content = await recordedContent(place, file);
  const isOurs = content?.repository === project.repositoryId && content.project === project.name &&
    content.volume === options.volume;
  if (!isOurs) return undefined;
  const { volume, backup } = content;
  const base = await readManifest(project, { volume, backup }, context).catch(unlessUnreadable);
  return base && { base, changed: noChanges(base) }; // forgotten meanwhile, or damaged: then nothing is known
}

function chooseStrategy(
  { target, declared, remembered }: {
    target: Target;
    declared: KnownState | undefined;
    remembered: KnownState | undefined;
  },
): { way: RestoreStrategy; reason: string } {
  if (declared !== undefined) {
    const reason = `"${target.name}" is assumed to match ${declared.base.info.backup} apart from the changes`;
    return { way: "changes", reason };
  }
  if (remembered !== undefined) {
    const reason =
      `"${target.name}" is unchanged since it was restored to ${remembered.base.info.backup}; it is not read again`;
    return { way: "unchanged", reason };
  }
  if (target.readableBytes === 0) {
    return { way: "new", reason: `"${target.name}" is empty; there is nothing to compare` };
  }
  return {
    way: "compare",
    reason: `"${target.name}" is read and compared, because its content is not known`,
  };
}

/** The plan is made anew for each pass over the volume, out of pages in memory or the cache: it may be larger than memory. */
async function transfer(run: RestoreRun, context: Context): Promise<Omit<RestoreReport, "duration_s">> {
  const { options, project, manifest, known, range, target, cache } = run;
  const { keepGoing, dryRun, onProgress = () => {} } = options;
  await using chunkCache = openChunkCache(project, context);
  await using resources = new ChunkResources({ chunkBytes: project.chunkBytes, from: "store" }, context);
  const plan: RestorePlan = { project, manifest, known, range, local: cache, signal: context.signal };
  const shared = await SharedChunks.count(planRestore(plan));
  const parts = { project, manifest, target, resources, shared, cache: chunkCache };
  const restorer = new Restorer({ ...parts, keepGoing, dryRun, onProgress }, context);
  await restorer.run(planRestore(plan));
  const isWhole = restorer.damaged.length === 0 && !dryRun;
  const everything = planRestore({ ...plan, known: undefined });
  const verifiedBytes = isWhole && options.verifyTarget
    ? await verifyTarget(everything, { target, manifest, resources }, context)
    : 0;
  if (isWhole && options.part === undefined) await remember(run, context);
  return report(run, { restorer, verifiedBytes });
}

/** The target is the backup now: the next restore need not read it, nor the pages. What was only told is not noted. */
async function remember(
  { project, manifest, target, cache, way, options }: RestoreRun,
  context: Context,
): Promise<void> {
  // Where pages were spared, they are not read just to be remembered.
  if (way === "new" || way === "compare" || !cache.isCold) await cache.renew(manifest);
  if (way === "changes" && !options.verifyTarget) return;
  const look = target.file === undefined ? undefined : await lookOf(target.file);
  const place = cachePlace(project, context);
  if (place === undefined || look === undefined || target.file === undefined) return;
  const { volume, backup } = manifest.info;
  const content = { repository: project.repositoryId, project: project.name, volume, backup };
  await recordFile(place, target.file, { known: look, content });
}

function report(
  { manifest, way, reason, options }: RestoreRun,
  { restorer, verifiedBytes }: { restorer: Restorer; verifiedBytes: number },
): Omit<RestoreReport, "duration_s"> {
  const { backup, size_bytes } = manifest.info;
  const { counts, progress, damaged, readBytes } = restorer;
  return {
    backup,
    way,
    reason,
    size_bytes,
    chunks: counts,
    read_bytes: readBytes,
    downloaded_bytes: progress.downloadedBytes,
    written_bytes: progress.writtenBytes,
    verified_bytes: verifiedBytes,
    damaged,
    ...(options.dryRun ? { dry_run: { download_bytes_max: restorer.plannedBytes } } : {}),
  };
}
