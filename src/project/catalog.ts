/** A project's catalogue: its volumes, their backups, and which one a `@POINT` means. */
import { infoCachePath } from "../cache/cache_folder.ts";
import { InfoCache } from "../cache/info_cache.ts";
import type { HolderKind, ProjectKeys, Secret } from "../codec/keys.ts";
import { frontEnd } from "../codec/seal.ts";
import { DamageError, describeError, isUnreadable, MissingError, VarveError } from "../errors.ts";
import { EntryList } from "../format/entries.ts";
import { manifestName, parseManifestName, volumePrefix, VOLUMES_PREFIX } from "../format/layout.ts";
import {
  decodeInfo,
  encodeInfo,
  type InfoPlace,
  type Manifest,
  type ManifestInfo,
} from "../format/manifest.ts";
import { backupTimeMs, isBackupId } from "../format/backup_id.ts";
import { assertVolumeName } from "../format/names.ts";
import { decodeHeader, OBJECT_TYPE, type ObjectType } from "../format/object.ts";
import { snapshotFromJson, type SnapshotJson } from "../format/snapshot_name.ts";
import { type KnownIds, knownIds, type SourceIds } from "../format/source_ids.ts";
import type { RequestOptions } from "../store/store.ts";
import type { PointRef } from "./point_ref.ts";
import { cachePlace } from "./cache_place.ts";
import { type Context, tellProblem } from "../context.ts";
import { listTwice } from "./list_twice.ts";
import { Holds, readHold } from "./holds.ts";
import { findPoint, type FoundPoint } from "./point.ts";
import { orderPoints } from "./point_order.ts";
import { noBackups } from "./not_found.ts";
import { openProject } from "./open_project.ts";
import type { Project } from "./project.ts";
import { readTwice } from "./read_twice.ts";
import type { Repository } from "./repository.ts";
import { findMissed, type ListedPoint, sayIfProjectIsGone } from "./seen_points.ts";
import { mapOrdered } from "../util/task_limiter.ts";

/** The first read of a manifest: its info nearly always fits. */
const INFO_READ_BYTES = 8 * 1024;
/** The beginnings of manifests read at once. */
const READS_AT_ONCE = 32;

/** One line of `list`, as its JSON. */
export interface BackupInfo extends KnownIds {
  backup: string;
  project: string;
  volume: string;
  time: string;
  size_bytes: number;
  from_snapshot: SnapshotJson;
  to_snapshot: SnapshotJson;
  tags: string[];
  /** It cannot be forgotten. */
  held: boolean;
  /** What its project opens with: `none` is for whoever can read the store. */
  encryption: HolderKind;
}

/** What `show` tells: everything of a manifest but its pages. */
export interface BackupDetails extends Omit<ManifestInfo, keyof SourceIds>, KnownIds {
  encryption: HolderKind;
  held: boolean;
  /** What was said when it was held. */
  hold_reason: string | null;
  raw: { from_snapshot: Uint8Array | null; to_snapshot: Uint8Array | null };
}

/** The manifest of a backup with the key that it is sealed under. */
export interface OpenManifest extends Manifest {
  key: ProjectKeys;
}

/**
 * The backups of a project, or of one volume; oldest first within a volume. A backup that cannot be read is told of as a
 * problem. Throws `not_found` where there is no such project, or the volume has no backups.
 */
export async function listBackups(
  repository: Repository,
  { project: name, volume, secrets }: {
    project: string;
    volume?: string | undefined;
    secrets: readonly Secret[];
  },
  context: Context,
): Promise<BackupInfo[]> {
  const project = await openProject(repository, { name, secrets }, context)
    .catch((error) => sayIfProjectIsGone(repository, { project: name, error }, context));
  const holds = await Holds.read(project, volume, context);
  const points = await Array.fromAsync(readPoints(project, volume, context));
  const listed = points.map(({ info, ...point }) => ({
    ...point,
    isReadable: !(info instanceof DamageError),
  }));
  await findMissed(project, { volume, points: listed }, context);
  if (points.length === 0 && volume !== undefined) throw await noBackups(project, volume, context);
  const list: BackupInfo[] = [];
  for (const { info } of points) {
    if (info instanceof DamageError) tellProblem(info, context);
    else list.push(briefly(info, { held: holds.has(info), encryption: project.encryption }));
  }
  return list;
}

/** Everything that is known of one backup. */
export async function showBackup(
  repository: Repository,
  options: { project: string; volume: string; point: string | undefined; secrets: readonly Secret[] },
  context: Context,
): Promise<BackupDetails> {
  const project = await openProject(repository, { name: options.project, secrets: options.secrets }, context);
  const backup = await findBackup(project, options, context);
  const place = { volume: options.volume, backup };
  const info = await readInfo(project, place, context);
  const { held, reason } = await lookForHold(project, place, context);
  const raw = {
    from_snapshot: snapshotFromJson(info.from_snapshot) ?? null,
    to_snapshot: snapshotFromJson(info.to_snapshot) ?? null,
  };
  return { ...info, ...knownIds(info), encryption: project.encryption, held, hold_reason: reason, raw };
}

/** Whatever has a hold's name is one; of one that cannot be read just the reason is not known. */
async function lookForHold(project: Project, place: PointRef, context: Context) {
  try {
    const hold = await readHold(project, place, context);
    return { held: hold !== undefined, reason: hold?.reason ?? null };
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    tellProblem(error, context);
    return { held: true, reason: null };
  }
}

/** The ids of a volume's backups, by their dates. */
export async function listBackupIds(
  project: Project,
  volume: string,
  { signal }: Context,
): Promise<string[]> {
  assertVolumeName(volume);
  const ids: string[] = [];
  for (const { name } of await listTwice(project, volumePrefix(volume), { signal })) {
    const parsed = parseManifestName(name);
    if (parsed?.volume === volume) ids.push(parsed.backup);
  }
  return ids;
}

/**
 * The id of the backup that `point` means, among those that can be read. One that cannot be read and might be meant is told
 * of as a problem. Throws `not_found` where there is none, or more than one; `DamageError` where it may be one that cannot be read.
 */
export async function findBackup(
  project: Project,
  { volume, point = "latest" }: { volume: string; point: string | undefined },
  context: Context,
): Promise<string> {
  const { id, newer: { unreadable } } = await find(project, { volume, point }, context);
  for (const error of unreadable) tellProblem(error, context);
  return id;
}

/**
 * The same for whoever takes a point away: where a newer one that cannot be read, or that this host has seen and is gone, might
 * be meant, it throws `damage`.
 */
export async function findBackupForCertain(
  project: Project,
  { volume, point }: { volume: string; point: string },
  context: Context,
): Promise<string> {
  const { id, newer: { unreadable, missed } } = await find(project, { volume, point }, context);
  if (unreadable.length + missed.length === 0) return id;
  const why = unreadable[0]?.message ?? `this host has seen ${missed[0]}, which is gone`;
  throw new VarveError(
    "damage",
    `Cannot tell which point "${project.name}/${volume}@${point}" is: ${why}; name the point by its whole id`,
  );
}

interface Found {
  id: string;
  /** Those that might be meant, too: why they cannot be read, and the ids of those that are gone. */
  newer: { unreadable: DamageError[]; missed: string[] };
}

async function find(
  project: Project,
  { volume, point }: { volume: string; point: string },
  context: Context,
): Promise<Found> {
  const whole = point.replace(/^id:/, "");
  if (isBackupId(whole) && await project.has(manifestName(volume, whole), context)) {
    return { id: whole, newer: { unreadable: [], missed: [] } };
  }
  const known = await readVolume(project, volume, context);
  const { infos, damaged } = known;
  const gone = await findMissed(project, { volume, points: pointsOf(volume, known) }, context);
  if (infos.size + damaged.size === 0) throw await noBackups(project, volume, context);
  const { id, untilMs } = await chooseReadable(project, { volume, point, known }, context);
  const isNewer = (other: string) => other > id && backupTimeMs(other)! <= untilMs;
  const unreadable = [...damaged].filter(([id]) => isNewer(id)).map(([, error]) => error);
  const missed = gone.map(({ backup }) => backup).filter(isNewer);
  return { id, newer: { unreadable, missed } };
}

/** What there is of a volume: the backups that can be read, by their ids, and why others cannot. */
interface KnownPoints {
  infos: Map<string, ManifestInfo>;
  damaged: Map<string, DamageError>;
}

function pointsOf(volume: string, { infos, damaged }: KnownPoints): ListedPoint[] {
  const listed = (isReadable: boolean) => (backup: string) => ({ volume, backup, isReadable });
  return [...[...infos.keys()].map(listed(true)), ...[...damaged.keys()].map(listed(false))];
}

/** Infos are only the beginnings of manifests, and may be remembered: what is chosen is read as a whole, or another one chosen. */
async function chooseReadable(
  project: Project,
  { volume, point, known }: { volume: string; point: string; known: KnownPoints },
  context: Context,
): Promise<FoundPoint> {
  for (;;) {
    const found = await choose(point, `${project.name}/${volume}`, known);
    if (known.damaged.has(found.id)) return found;
    const manifest = await manifestOrDamage(project, { volume, backup: found.id }, context);
    if (manifest !== undefined && !(manifest instanceof DamageError)) return found;
    known.infos.delete(found.id);
    if (manifest !== undefined) known.damaged.set(found.id, manifest);
  }
}

async function readVolume(project: Project, volume: string, context: Context): Promise<KnownPoints> {
  const known: KnownPoints = { infos: new Map(), damaged: new Map() };
  for await (const { backup, info } of readPoints(project, volume, context)) {
    if (info instanceof DamageError) known.damaged.set(backup, info);
    else known.infos.set(backup, info);
  }
  return known;
}

async function choose(point: string, thing: string, { infos, damaged }: KnownPoints): Promise<FoundPoint> {
  const cause = [...damaged.values()].at(-1);
  if (infos.size === 0) throw reasonOf(cause!);
  const { made, dated } = orderPoints([...infos.values()]);
  const snapshots = () => Promise.resolve(made.map((id) => infos.get(id)!.to_snapshot));
  const choices = { thing, ids: made, dated, unreadable: [...damaged.keys()], snapshots };
  try {
    return await findPoint(point, choices);
  } catch (error) {
    // It may be one that cannot be read; of an id nothing but the name has to be known.
    const isCertain = cause === undefined || isBackupId(point);
    if (isCertain || !(error instanceof VarveError) || error.code !== "not_found") throw error;
    throw new DamageError(cause.key, `${error.message}; ${damaged.size} cannot be read`, { cause });
  }
}

/** A manifest as it stands in the store. */
export interface StoredPoint {
  volume: string;
  backup: string;
  /** When it was written, by the store's clock. */
  modifiedMs: number;
  /** Or why it cannot be read, whatever the reason is. */
  info: ManifestInfo | DamageError;
}

/** The backups of a project, or of one volume, readable or not; what is forgotten meanwhile is left out. */
export async function* readPoints(
  project: Project,
  volume: string | undefined,
  context: Context,
): AsyncGenerator<StoredPoint> {
  if (volume !== undefined) assertVolumeName(volume);
  const prefix = volume === undefined ? VOLUMES_PREFIX : volumePrefix(volume);
  const at = cachePlace(project, context);
  const cache = await InfoCache.open(at === undefined ? undefined : infoCachePath(at));
  const listed = new Set<string>();
  async function* places() {
    for (const { name, modifiedMs } of await listTwice(project, prefix, context)) {
      const place = parseManifestName(name);
      if (place !== undefined && (volume === undefined || place.volume === volume)) {
        listed.add(name);
        yield { ...place, modifiedMs };
      }
    }
  }
  const read = async (place: Omit<StoredPoint, "info">): Promise<StoredPoint | undefined> => {
    const info = await infoOrDamage(project, { ...place, cache }, context);
    return info && { ...place, info };
  };
  for await (const point of mapOrdered(places(), read, { limit: READS_AT_ONCE, drop: () => {} })) {
    if (point !== undefined) yield point;
  }
  if (volume === undefined) cache.keepOnly(listed);
  await cache.save();
}

/** The info of a listed backup, or why it cannot be read; `undefined` where it was forgotten meanwhile. */
export async function infoOrDamage(
  project: Project,
  place: PointRef & { cache?: InfoCache },
  context: Context,
): Promise<ManifestInfo | DamageError | undefined> {
  return await readInfo(project, place, context).catch((error) =>
    damageUnlessGone(project, { place, error }, context)
  );
}

/** The manifest of a listed backup, or why it cannot be read; `undefined` where it was forgotten meanwhile. */
export async function manifestOrDamage(
  project: Project,
  place: PointRef,
  context: Context,
): Promise<OpenManifest | DamageError | undefined> {
  return await readManifest(project, place, context)
    .catch((error) => damageUnlessGone(project, { place, error }, context));
}

/** What a failed reading of a manifest says of that one manifest. Throws what says more than that. */
async function damageUnlessGone(
  project: Project,
  { place, error }: { place: PointRef; error: unknown },
  context: Context,
): Promise<DamageError | undefined> {
  if (error instanceof DamageError) return error;
  const key = project.key(manifestName(place.volume, place.backup));
  if (error instanceof MissingError) {
    if (await isGone(project, place, context)) return undefined;
    return new DamageError(key, `Cannot read "${key}": the store lists it, and does not give it`, {
      cause: error,
    });
  }
  if (!isUnreadable(error) && !isOfAnother(error)) throw error;
  return new DamageError(key, describeError(error), { cause: error });
}

/** What was wrong at first: that a later varve wrote a manifest is no damage to who needs this one. */
export function reasonOf(damage: DamageError): VarveError {
  return isOfAnother(damage.cause) ? damage.cause : damage;
}

/** The other manifests may be of this version, and under a key that the secret opens. */
function isOfAnother(error: unknown): error is VarveError {
  return error instanceof VarveError && (error.code === "format_version" || error.code === "wrong_secret");
}

/**
 * Whether a backup was forgotten: true only if neither a question nor a listing finds its manifest. That it could not be read
 * says nothing: a store may list what it does not give.
 */
export async function isGone(
  project: Project,
  { volume, backup }: { volume: string; backup: string },
  { signal }: RequestOptions,
): Promise<boolean> {
  return !await project.has(manifestName(volume, backup), { signal });
}

/**
 * The info of one backup, by reading only the beginning of its manifest, or from the cache where there is one. What does
 * not open is read twice. Throws `DamageError`, `MissingError`.
 */
export async function readInfo(
  project: Project,
  { cache, ...place }: { volume: string; backup: string; cache?: InfoCache },
  { signal }: Context,
): Promise<ManifestInfo> {
  const object = { type: OBJECT_TYPE.manifest, name: manifestName(place.volume, place.backup) };
  const open = async (bytes: Uint8Array) =>
    decodeInfo(await project.front(bytes, object), infoPlace(project, place));
  const cached = cache?.get(object.name);
  const known = cached === undefined ? undefined : await open(cached).catch(() => undefined); // damaged: read it again
  if (known !== undefined) return known;
  return await readTwice(async () => {
    const bytes = await readFront(project, object, signal);
    const info = await open(bytes);
    cache?.put(object.name, bytes);
    return info;
  });
}

/** The object up to the end of its front section. */
async function readFront(
  project: Project,
  object: { type: ObjectType; name: string },
  signal: AbortSignal,
): Promise<Uint8Array> {
  const key = project.key(object.name);
  const bytes = await project.store.get(key, { signal, range: { offset: 0, length: INFO_READ_BYTES } });
  const end = frontEnd(decodeHeader(bytes, { type: object.type, key }));
  if (end <= bytes.length) return bytes.slice(0, end);
  return await project.store.get(key, { signal, range: { offset: 0, length: end } });
}

/** A whole manifest. What does not open is read twice. Throws `DamageError`, `MissingError`. */
export async function readManifest(
  project: Project,
  place: { volume: string; backup: string },
  { signal }: Context,
): Promise<OpenManifest> {
  return await readTwice(() => readManifestOnce(project, place, signal));
}

async function readManifestOnce(
  project: Project,
  place: PointRef,
  signal: AbortSignal,
): Promise<OpenManifest> {
  const object = { type: OBJECT_TYPE.manifest, name: manifestName(place.volume, place.backup) };
  const key = project.key(object.name);
  const { bytes, content, key: sealKey } = await project.readOnce(object, { signal });
  const info = decodeInfo(await project.front(bytes, object), infoPlace(project, place));
  try {
    const pages = EntryList.decode(content, pagesOf(info));
    return { info, pages, key: sealKey };
  } catch (cause) {
    throw new DamageError(key, `Cannot read "${key}": its list of pages cannot be read`, { cause });
  }
}

function infoPlace(project: Project, { volume, backup }: PointRef): InfoPlace {
  const { name, chunkBytes } = project;
  return { key: project.key(manifestName(volume, backup)), project: name, volume, backup, chunkBytes };
}

/** How many pages the volume has. */
function pagesOf({ size_bytes, chunk_bytes, page_chunks }: ManifestInfo): number {
  return Math.ceil(Math.ceil(size_bytes / chunk_bytes) / page_chunks);
}

/** Writes a manifest: the moment from which the backup exists. */
export async function writeManifest(
  project: Project,
  manifest: OpenManifest,
  options: RequestOptions,
): Promise<void> {
  const { info, pages, key } = manifest;
  const name = manifestName(info.volume, info.backup);
  const object = {
    type: OBJECT_TYPE.manifest,
    name,
    front: encodeInfo(info, project.key(name)),
    content: pages.encode(),
  };
  await project.write(object, { ...options, key });
}

function briefly(info: ManifestInfo, state: Pick<BackupInfo, "held" | "encryption">): BackupInfo {
  const { backup, project, volume, time, size_bytes, from_snapshot, to_snapshot, tags } = info;
  return {
    backup,
    project,
    volume,
    time,
    size_bytes,
    from_snapshot,
    to_snapshot,
    ...knownIds(info),
    tags,
    ...state,
  };
}
