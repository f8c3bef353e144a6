/**
 * Where a host remembers things: `<root>/<repository id>/<project>/…`. Everything below may be deleted or damaged at any
 * time: it costs time, never data. Files appear whole, by renaming. Below the root no link is followed, and only this
 * user's own files are read.
 */
import * as fs from "node:fs";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { closeFd, openFd } from "../os/fd.ts";
import { Folder } from "../os/folder.ts";

const FOLDER_MODE = 0o700;

/** Of what project a host remembers things. */
export interface ProjectPlace {
  /** `$XDG_CACHE_HOME/varve`. */
  root: string;
  repositoryId: string;
  project: string;
}

export interface CachePlace extends ProjectPlace {
  /** Authenticates what nothing else would prove to be right. */
  key: Uint8Array;
}

/** A file or folder: `path` is below the root. */
export interface CachePath {
  root: string;
  path: string;
}

/** The hash cache of a volume, in a folder of its name: no part of a name begins with a dot, so none is in another's way. */
export function hashCachePath(place: ProjectPlace, volume: string): CachePath {
  return within(place, "volumes", volume, ".hashes");
}

/** The leaf cache of a volume. */
export function leafCachePath(place: ProjectPlace, volume: string): CachePath {
  return within(place, "volumes", volume, ".leaves");
}

/** The infos of the project's manifests. */
export function infoCachePath(place: ProjectPlace): CachePath {
  return within(place, "infos");
}

/** When which chunk was read back. */
export function verifiedPath(place: ProjectPlace): CachePath {
  return within(place, "verified");
}

/** Sealed chunks. */
export function chunkCacheFolder(place: ProjectPlace): CachePath {
  return within(place, "chunks");
}

/** What targets and sources looked like, one file for each; not tied to a project, for another may overwrite one. */
export function fileRecordsFolder(root: string): CachePath {
  return { root, path: "files" };
}

function within({ root, repositoryId, project }: ProjectPlace, ...names: string[]): CachePath {
  return { root, path: join(repositoryId, project, ...names) };
}

/** The whole path, for messages. */
export function pathOf({ root, path }: CachePath): string {
  return join(root, path);
}

/** Throws system errors, and where a link is in the way. */
export async function openCacheFolder({ root, path }: CachePath): Promise<Folder> {
  using top = await Folder.open(root);
  return await top.enter(path);
}

/** The same, made where it is not there. */
async function makeCacheFolder({ root, path }: CachePath): Promise<Folder> {
  await mkdir(root, { recursive: true, mode: FOLDER_MODE });
  using top = await Folder.open(root);
  return await top.make(path, FOLDER_MODE);
}

/** A descriptor of the file; `undefined` where it is not there, or is not a regular file of this user. */
export async function openCached(
  { root, path }: CachePath,
  access: number = fs.constants.O_RDONLY,
): Promise<number | undefined> {
  try {
    using folder = await openCacheFolder({ root, path: dirname(path) });
    const file = await folder.openFile(basename(path), access);
    if (file === undefined || isOwn(file.stats)) return file?.fd;
    await closeFd(file.fd);
  } catch {
    // As good as not there.
  }
  return undefined;
}

/** Not another user's, nor some other file of this one's by a second name. */
function isOwn({ uid, nlink }: fs.BigIntStats): boolean {
  return Number(uid) === process.geteuid?.() && nlink === 1n;
}

/** The same, made empty where it is not there. Throws system errors. */
export async function openOrMakeCached(place: CachePath, access: number): Promise<number | undefined> {
  using folder = await makeCacheFolder({ ...place, path: dirname(place.path) });
  const flags = fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_WRONLY;
  await openFd(folder.at(basename(place.path)), flags, 0o600).then(closeFd, () => {});
  return await openCached(place, access);
}

/** What the file holds; `undefined` as for `openCached`. */
export async function readCached(place: CachePath): Promise<Uint8Array | undefined> {
  const fd = await openCached(place);
  if (fd === undefined) return undefined;
  try {
    return await readFile(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  } finally {
    await closeFd(fd);
  }
}

/** Has `write` fill a temporary file, then gives it its name. What goes wrong is thrown, and leaves nothing. */
export async function replaceFile(
  { root, path }: CachePath,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  using folder = await makeCacheFolder({ root, path: dirname(path) });
  const name = folder.at(basename(path));
  const temporary = `${name}.${crypto.randomUUID()}`;
  try {
    await write(temporary);
    await rename(temporary, name);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
