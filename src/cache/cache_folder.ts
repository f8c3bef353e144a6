/**
 * Where a host remembers things: `<root>/<repository id>/<project>/…`. Everything below may be deleted or damaged at any
 * time: it costs time, never data. Files appear whole, by renaming.
 */
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

export interface CachePlace {
  /** `$XDG_CACHE_HOME/varve`. */
  root: string;
  repositoryId: string;
  project: string;
}

/** The hash cache of a volume, in a folder of its name: no part of a name begins with a dot, so none is in another's way. */
export function hashCachePath(place: CachePlace, volume: string): string {
  return join(projectFolder(place), "volumes", volume, ".hashes");
}

/** The leaf cache of a volume. */
export function leafCachePath(place: CachePlace, volume: string): string {
  return join(projectFolder(place), "volumes", volume, ".leaves");
}

/** The infos of the project's manifests. */
export function infoCachePath(place: CachePlace): string {
  return join(projectFolder(place), "infos");
}

/** When which chunk was read back. */
export function verifiedPath(place: CachePlace): string {
  return join(projectFolder(place), "verified");
}

/** Sealed chunks. */
export function chunkCacheFolder(place: CachePlace): string {
  return join(projectFolder(place), "chunks");
}

/** What targets and sources looked like, one file for each; not tied to a project, for another may overwrite one. */
export function fileRecordsFolder(root: string): string {
  return join(root, "files");
}

/** All of a project, but for the file records. */
export function projectFolder({ root, repositoryId, project }: CachePlace): string {
  return join(root, repositoryId, project);
}

/** Has `write` fill a temporary file, then gives it its name. What goes wrong is thrown, and leaves nothing. */
export async function replaceFile(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${crypto.randomUUID()}`;
  try {
    await write(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
