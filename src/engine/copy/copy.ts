/**
 * Copy: a project's points into a second repository. Its keys first, then, under a lease in both, for each point that is
 * missing there its chunks, pages and last its manifest, as they are. Run again, it copies what is still missing.
 */
import { hostname } from "node:os";
import type { Secret } from "../../codec/keys.ts";
import { describeError, isUnreadable, UsageError } from "../../errors.ts";
import type { EntryList } from "../../format/entries.ts";
import { leaseName, manifestName, parseManifestName, VOLUMES_PREFIX } from "../../format/layout.ts";
import type { Store } from "../../store/store.ts";
import { findBackup, listBackupIds, readManifest } from "../../project/catalog.ts";
import { ChunkCopier, type ChunkCopierOptions, type CopyBase } from "../../volume/chunk_copier.ts";
import { ChunkWorkshop } from "../../volume/workshop.ts";
import { commitManifest } from "../../volume/commit.ts";
import { Condemned } from "../../project/sharing/condemned.ts";
import type { Context } from "../../context.ts";
import { copyKeys, openSecond } from "./copy_target.ts";
import { Lease } from "../../project/sharing/lease.ts";
import { listTwice } from "../../project/list_twice.ts";
import { noBackups } from "../../project/not_found.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { MarkedObjects } from "../../project/sharing/quarantine.ts";

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

export interface CopyProgress {
  /** Points to be copied, and the one at work, from 1. */
  points: number;
  point: number;
  /** Of the point at work. */
  sizeBytes: number;
  doneBytes: number;
  copiedBytes: number;
}

export interface Place {
  volume: string;
  backup: string;
}

/** The JSON of `varve copy`. */
export interface CopyReport {
  project: string;
  to: string;
  points: {
    copied: number;
    /** They were there. */
    present: number;
    /** They cannot be read as a whole, and were not copied. */
    damaged: number;
    /** They were forgotten here meanwhile. */
    forgotten: number;
  };
  /** Chunks and pages; those of points that were there are not counted. */
  objects: { copied: number; present: number };
  copied_bytes: number;
  damaged: (Place & { reason: string })[];
  duration_s: number;
}

/** What points are copied with. */
export interface Copying extends ChunkCopierOptions {
  onProgress?: CopyOptions["onProgress"];
}

/** What one copy holds while it works. */
interface Run extends Copying {
  copier: ChunkCopier;
  /** What the target has, by volume, oldest first. */
  present: ReadonlyMap<string, readonly Place[]>;
}

/**
 * Copies what the other repository does not have. A point that is damaged is
 * reported and left out. Throws `conflict` where the other has another chunk size or another project of that name,
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
    await refuseItself(repository, { second, source, sourceLease }, guarded);
    await copyKeys({ from: repository.store, to, project: name }, guarded);
    const target = await openProject(second, { name, secrets }, guarded);
    const report = await copyPlaces(source, { target, places, options }, guarded);
    return { ...report, duration_s: (context.clock.now() - startedMs) / 1000 };
  } finally {
    await sourceLease?.end();
  }
}

/** Throws where both are one: it has the lease that was just written to the first, or where none could be, its address. */
async function refuseItself(
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
  throw new UsageError(`Cannot copy "${source.name}" to "${store.url}": it is the same repository`);
}

function leaseOptions(project: Project, { volume }: CopyOptions) {
  return { work: "copy" as const, volume: volume ?? project.name, host: hostname(), key: project.firstKey };
}

/** What was asked for: oldest first within a volume. */
async function findPlaces(source: Project, options: CopyOptions, context: Context): Promise<Place[]> {
  const { volume, point } = options;
  if (volume === undefined) return await listPlaces(source, context);
  const backups = point === undefined
    ? await listBackupIds(source, volume, context)
    : [await findBackup(source, { volume, point }, context)];
  if (backups.length > 0) return backups.map((backup) => ({ volume, backup }));
  throw await noBackups(source, volume, context);
}

/** Every point of the project, oldest first within a volume. */
export async function listPlaces(project: Project, { signal }: Context): Promise<Place[]> {
  const places: Place[] = [];
  for (const { name } of await listTwice(project, VOLUMES_PREFIX, { signal })) {
    const place = parseManifestName(name);
    if (place !== undefined) places.push(place);
  }
  return places;
}

/** From here on as a backup does: the lease first, then the plans, then what is there. docs/gc.md. */
async function copyPlaces(
  source: Project,
  { target, places, options }: { target: Project; places: Place[]; options: CopyOptions },
  context: Context,
): Promise<Omit<CopyReport, "duration_s">> {
  const lease = await Lease.begin(target, leaseOptions(target, options), context);
  const workshop = new ChunkWorkshop({ chunkBytes: source.chunkBytes, from: "store" }, context);
  const guarded = lease.guard(context);
  try {
    await lease.seenMs(guarded.signal);
    await target.checkNotErased({ signal: guarded.signal });
    const condemned = await Condemned.read(target, guarded);
    const marked = await MarkedObjects.read(target, guarded);
    const { onProgress } = options;
    const copying = { source, target, workshop, condemned, marked, lease, onProgress };
    return { to: options.to.url, ...await copyMissing(copying, places, guarded) };
  } finally {
    await workshop.close();
    await lease.end();
  }
}

/** Copies those of the points that the target does not have, each as a whole or not at all. */
export async function copyMissing(
  copying: Copying,
  places: readonly Place[],
  context: Context,
): Promise<Omit<CopyReport, "duration_s" | "to">> {
  const { source } = copying;
  const present = Map.groupBy(await listPlaces(copying.target, context), ({ volume }) => volume);
  const copier = new ChunkCopier(copying, context);
  const run: Run = { ...copying, present, copier };
  const missing = places.filter((place) => !isIn(present, place));
  const damaged: CopyReport["damaged"] = [];
  let forgotten = 0;
  let last: CopiedPoint | undefined;
  for (const [index, place] of missing.entries()) {
    context.signal.throwIfAborted();
    try {
      const base = await findBase(run, { place, last }, context);
      const onProgress = (at: { sizeBytes: number; doneBytes: number }) =>
        copying.onProgress?.({
          points: missing.length,
          point: index + 1,
          copiedBytes: copier.counts.bytes,
          ...at,
        });
      last = await copyPoint(run, { place, base, onProgress }, context);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (await isForgotten(source, place, context)) forgotten++;
      else damaged.push({ ...place, reason: describeError(error) });
    }
  }
  const points = {
    copied: missing.length - damaged.length - forgotten,
    present: places.length - missing.length,
    damaged: damaged.length,
    forgotten,
  };
  const { bytes, ...objects } = copier.counts;
  return { project: source.name, points, objects, copied_bytes: bytes, damaged };
}

/** By a question and a listing: one look is no proof. */
async function isForgotten(
  source: Project,
  { volume, backup }: Place,
  context: Context,
): Promise<boolean> {
  const name = manifestName(volume, backup);
  if (await source.store.head(source.key(name), { signal: context.signal }) !== undefined) return false;
  return !(await listBackupIds(source, volume, context)).includes(backup);
}

function isIn(present: Run["present"], { volume, backup }: Place): boolean {
  return present.get(volume)?.some((there) => there.backup === backup) ?? false;
}

/** A point of the target and the pages that it has there. */
interface CopiedPoint extends Place {
  pages: EntryList;
}

/**
 * What the target has and is likely to be most like the point: the point before it, else the one after it. Only spares
 * questions to the store.
 */
async function findBase(
  { present, target, condemned }: Run,
  { place, last }: { place: Place; last: CopiedPoint | undefined },
  context: Context,
): Promise<CopyBase | undefined> {
  const there = present.get(place.volume) ?? [];
  const before = there.findLast(({ backup }) => backup < place.backup);
  if (last?.volume === place.volume && (before === undefined || last.backup > before.backup)) {
    return { pages: last.pages, isInDoubt: false };
  }
  const base = before ?? there[0];
  if (base === undefined) return undefined;
  try {
    const { info, pages } = await readManifest(target, base, context);
    return { pages, isInDoubt: await condemned.against(info) !== undefined };
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

async function copyPoint(
  { source, target, copier, lease, condemned }: Run,
  { place, base, onProgress }: {
    place: Place;
    base: CopyBase | undefined;
    onProgress: (at: { sizeBytes: number; doneBytes: number }) => void;
  },
  context: Context,
): Promise<CopiedPoint> {
  const manifest = await readManifest(source, place, context);
  const { size_bytes: sizeBytes, chunk_bytes } = manifest.info;
  const onPage = (positions: number) =>
    onProgress({ sizeBytes, doneBytes: Math.min(sizeBytes, positions * chunk_bytes) });
  const pages = await copier.copyPages(manifest.pages, { key: manifest.key, base, onPage });
  const { newest } = copier;
  await commitManifest(target, { manifest: { ...manifest, pages }, lease, condemned, newest }, context);
  return { ...place, pages };
}
