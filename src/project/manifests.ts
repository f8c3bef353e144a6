/** Manifests: read whole or only their beginning, and written. What one that cannot be read says of itself and of the store. */
import type { InfoCache } from "../cache/info_cache.ts";
import type { ProjectKeys } from "../codec/keys.ts";
import { frontEnd } from "../codec/seal.ts";
import type { Context } from "../context.ts";
import { cannotRead, DamageError, describeError, isUnreadable, MissingError, VarveError } from "../errors.ts";
import { EntryList } from "../format/entries.ts";
import { manifestName } from "../format/layout.ts";
import {
  decodeInfo,
  encodeInfo,
  type InfoPlace,
  type Manifest,
  type ManifestInfo,
} from "../format/manifest.ts";
import { decodeHeader, OBJECT_TYPE, type ObjectType } from "../format/object.ts";
import type { RequestOptions } from "../store/store.ts";
import type { PointRef } from "./point_ref.ts";
import type { Project } from "./project.ts";
import { readTwice } from "./read_twice.ts";

/** The first read of a manifest: its info nearly always fits. */
const INFO_READ_BYTES = 8 * 1024;
/** The manifest of a backup with the key that it is sealed under. */
export interface OpenManifest extends Manifest {
  keys: ProjectKeys;
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
  const key = project.objectKey(manifestName(place.volume, place.backup));
  if (error instanceof MissingError) {
    if (await isGone(project, place, context)) return undefined;
    return cannotRead(key, "the store lists it but does not return it", error);
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
  { volume, backup }: PointRef,
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
  { cache, ...place }: PointRef & { cache?: InfoCache },
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
  const key = project.objectKey(object.name);
  const bytes = await project.get(object.name, { signal, range: { offset: 0, length: INFO_READ_BYTES } });
  const end = frontEnd(decodeHeader(bytes, { type: object.type, key }));
  if (end <= bytes.length) return bytes.slice(0, end);
  return await project.get(object.name, { signal, range: { offset: 0, length: end } });
}

/** A whole manifest. What does not open is read twice. Throws `DamageError`, `MissingError`. */
export async function readManifest(
  project: Project,
  place: PointRef,
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
  const key = project.objectKey(object.name);
  const { bytes, content, keys } = await project.readOnce(object, { signal });
  const info = decodeInfo(await project.front(bytes, object), infoPlace(project, place));
  try {
    const pages = EntryList.decode(content, pagesOf(info));
    return { info, pages, keys };
  } catch (cause) {
    throw cannotRead(key, "its list of pages cannot be read", cause);
  }
}

function infoPlace(project: Project, { volume, backup }: PointRef): InfoPlace {
  const { name, chunkBytes } = project;
  return { key: project.objectKey(manifestName(volume, backup)), project: name, volume, backup, chunkBytes };
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
  const { info, pages, keys } = manifest;
  const name = manifestName(info.volume, info.backup);
  const object = {
    type: OBJECT_TYPE.manifest,
    name,
    front: encodeInfo(info, project.objectKey(name)),
    content: pages.encode(),
  };
  await project.write(object, { ...options, keys });
}
