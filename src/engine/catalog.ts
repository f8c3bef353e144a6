/** A project's catalogue: its volumes, their backups, and which one a `@POINT` means. */
import { infoCachePath } from "../cache/cache_folder.ts";
import { InfoCache } from "../cache/info_cache.ts";
import type { ProjectKey, Secret } from "../codec/keys.ts";
import { frontEnd, openContent } from "../codec/seal.ts";
import { DamageError, describeError, MissingError, VarveError } from "../errors.ts";
import { EntryList } from "../format/entries.ts";
import { manifestName, parseManifestName, volumePrefix, VOLUMES_PREFIX } from "../format/layout.ts";
import { decodeInfo, encodeInfo, type Manifest, type ManifestInfo } from "../format/manifest.ts";
import { checkProjectName, checkVolumeName } from "../format/names.ts";
import { decodeHeader, OBJECT_TYPE, type ObjectType } from "../format/object.ts";
import { snapshotFromJson, type SnapshotJson } from "../format/snapshot_name.ts";
import type { RequestOptions } from "../store/store.ts";
import { cachePlace } from "./cache_place.ts";
import type { Context } from "./context.ts";
import { Holds, readHold } from "./retention/holds.ts";
import { resolvePoint } from "./point.ts";
import { listProjects, openProject, type Project } from "./project.ts";
import type { Repository } from "./repository.ts";
import { mapOrdered } from "./window.ts";

/** The first read of a manifest: its info nearly always fits. */
const INFO_READ_BYTES = 8 * 1024;
/** Manifests read at once. */
const READS_AT_ONCE = 16;

/** One line of `list`, as its JSON. */
export interface BackupInfo {
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
}

/** What `show` tells: everything of a manifest but its pages. */
export interface BackupDetails extends ManifestInfo {
  held: boolean;
  /** What was said when it was held. */
  hold_reason: string | null;
  raw: { from_snapshot: Uint8Array | null; to_snapshot: Uint8Array | null };
}

/** The manifest of a backup with the key that it is sealed under. */
export interface OpenManifest extends Manifest {
  key: ProjectKey;
}

/** The backups of all projects, of one, or of one volume; oldest first within a volume. */
export async function listBackups(
  repository: Repository,
  options: { project?: string | undefined; volume?: string | undefined; secret: Secret },
  context: Context,
): Promise<BackupInfo[]> {
  const list: BackupInfo[] = [];
  if (options.project !== undefined) checkProjectName(options.project);
  const projects = options.project === undefined ? listProjects(repository, context) : [options.project];
  for await (const name of projects) {
    const project = await openProject(repository, { name, secret: options.secret, create: false }, context)
      .catch((error) => {
        if (options.project !== undefined || !isWrongSecret(error)) throw error;
        context.log.warn({ project: name }, describeError(error)); // the others can still be listed
      });
    if (project === undefined) continue;
    const holds = await Holds.read(project, options.volume, context);
    for await (const info of readInfos(project, options.volume, context)) {
      list.push(briefly(info, holds.has(info)));
    }
  }
  return list;
}

/** Everything that is known of one backup. */
export async function showBackup(
  repository: Repository,
  options: { project: string; volume: string; point: string | undefined; secret: Secret },
  context: Context,
): Promise<BackupDetails> {
  const project = await openProject(repository, {
    name: options.project,
    secret: options.secret,
    create: false,
  }, context);
  const backup = await findBackup(project, options, context);
  const place = { volume: options.volume, backup };
  const info = await readInfo(project, place, context);
  const hold = await readHold(project, place, context);
  const raw = {
    from_snapshot: snapshotFromJson(info.from_snapshot) ?? null,
    to_snapshot: snapshotFromJson(info.to_snapshot) ?? null,
  };
  return { ...info, held: hold !== undefined, hold_reason: hold?.reason ?? null, raw };
}

function isWrongSecret(error: unknown): boolean {
  return error instanceof VarveError && error.code === "wrong_secret";
}

/** The ids of a volume's backups, oldest first. */
export async function listBackupIds(
  project: Project,
  volume: string,
  { signal }: Context,
): Promise<string[]> {
  checkVolumeName(volume);
  const ids: string[] = [];
  for await (const { name } of project.list(volumePrefix(volume), { signal })) {
    const parsed = parseManifestName(name);
    if (parsed?.volume === volume) ids.push(parsed.backup);
  }
  return ids;
}

/** The id of the backup that `point` means. Throws `failed` where there is none, or more than one. */
export async function findBackup(
  project: Project,
  options: { volume: string; point: string | undefined },
  context: Context,
): Promise<string> {
  const { volume } = options;
  const ids = await listBackupIds(project, volume, context);
  const thing = `${project.name}/${volume}`;
  if (ids.length === 0) throw new VarveError("failed", `Cannot find "${thing}": it has no backups`);
  const snapshots = async () => {
    const names: SnapshotJson[] = [];
    const options = { limit: READS_AT_ONCE, drop: () => {} };
    const infos = mapOrdered(
      inOrder(ids),
      (backup) => readInfo(project, { volume, backup }, context),
      options,
    );
    for await (const { to_snapshot } of infos) names.push(to_snapshot);
    return names;
  };
  return await resolvePoint(options.point ?? "latest", { thing, ids, snapshots });
}

async function* inOrder<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

/** The infos of a project's backups, or of one volume's. Throws `DamageError` where one cannot be read. */
export async function* readInfos(
  project: Project,
  volume: string | undefined,
  context: Context,
): AsyncGenerator<ManifestInfo> {
  for await (const { info } of readPoints(project, volume, context)) {
    if (info instanceof DamageError) throw info;
    yield info;
  }
}

/** A manifest as it stands in the store. */
export interface StoredPoint {
  volume: string;
  backup: string;
  /** When it was written, by the store's clock. */
  modifiedMs: number;
  info: ManifestInfo | DamageError;
}

/** The backups of a project, or of one volume, readable or not; what is forgotten meanwhile is left out. */
export async function* readPoints(
  project: Project,
  volume: string | undefined,
  context: Context,
): AsyncGenerator<StoredPoint> {
  if (volume !== undefined) checkVolumeName(volume);
  const prefix = volume === undefined ? VOLUMES_PREFIX : volumePrefix(volume);
  const at = cachePlace(project, context);
  const cache = await InfoCache.open(at === undefined ? undefined : infoCachePath(at));
  const listed = new Set<string>();
  async function* places() {
    for await (const { name, modifiedMs } of project.list(prefix, { signal: context.signal })) {
      const place = parseManifestName(name);
      if (place !== undefined && (volume === undefined || place.volume === volume)) {
        listed.add(name);
        yield { ...place, modifiedMs };
      }
    }
  }
  const read = async (place: Omit<StoredPoint, "info">): Promise<StoredPoint | undefined> => {
    try {
      return { ...place, info: await readInfo(project, { ...place, cache }, context) };
    } catch (error) {
      if (error instanceof MissingError) return undefined;
      if (error instanceof DamageError) return { ...place, info: error };
      throw error;
    }
  };
  for await (const point of mapOrdered(places(), read, { limit: READS_AT_ONCE, drop: () => {} })) {
    if (point !== undefined) yield point;
  }
  if (volume === undefined) cache.keepOnly(listed);
  await cache.save();
}

/** The info of one backup, by reading only the beginning of its manifest, or from the cache where there is one. */
export async function readInfo(
  project: Project,
  { cache, ...place }: { volume: string; backup: string; cache?: InfoCache },
  { signal }: Context,
): Promise<ManifestInfo> {
  const object = { type: OBJECT_TYPE.manifest, name: manifestName(place.volume, place.backup) };
  const open = async (bytes: Uint8Array) =>
    decodeInfo(await project.front(bytes, object), { key: project.key(object.name), ...place });
  const cached = cache?.get(object.name);
  const known = cached === undefined ? undefined : await open(cached).catch(() => undefined); // damaged: read it again
  if (known !== undefined) return known;
  const bytes = await readFront(project, object, signal);
  const info = await open(bytes);
  cache?.put(object.name, bytes);
  return info;
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

/** A whole manifest. */
export async function readManifest(
  project: Project,
  place: { volume: string; backup: string },
  { signal }: Context,
): Promise<OpenManifest> {
  const object = { type: OBJECT_TYPE.manifest, name: manifestName(place.volume, place.backup) };
  const key = project.key(object.name);
  const bytes = await project.store.get(key, { signal });
  const sealKey = await project.keyOf(bytes, object);
  const info = decodeInfo(await project.front(bytes, object), { key, ...place });
  try {
    return { info, pages: EntryList.decode(openContent(bytes, { ...object, key }, sealKey)), key: sealKey };
  } catch (cause) {
    if (cause instanceof VarveError) throw cause;
    throw new DamageError(key, `Cannot read "${key}": its list of pages cannot be read`, { cause });
  }
}

/** Writes a manifest: the moment from which the backup exists. */
export async function writeManifest(
  project: Project,
  manifest: OpenManifest,
  options: RequestOptions,
): Promise<void> {
  const { info, pages, key } = manifest;
  const name = manifestName(info.volume, info.backup);
  const object = { type: OBJECT_TYPE.manifest, name, front: encodeInfo(info), content: pages.encode() };
  await project.write(object, { ...options, key });
}

function briefly(info: ManifestInfo, held: boolean): BackupInfo {
  const { backup, project, volume, time, size_bytes, from_snapshot, to_snapshot, tags } = info;
  return { backup, project, volume, time, size_bytes, from_snapshot, to_snapshot, tags, held };
}
