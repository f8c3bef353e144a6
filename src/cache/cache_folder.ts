/**
 * Where a host remembers things: `<root>/<repository id>/<project>/…`. Everything below may be deleted or damaged at any
 * time: it costs time, never data.
 */
import { join } from "node:path";
import { type OwnPath, within } from "../os/own_path.ts";

/** Of what project a host remembers things. */
interface ProjectPlace {
  /** `$XDG_CACHE_HOME/varve`. */
  root: string;
  repositoryId: string;
  project: string;
}

export interface CachePlace extends ProjectPlace {
  /** Authenticates what nothing else would prove to be right. */
  key: Uint8Array;
}

/** The hash cache of a volume, in a folder of its name: no part of a name begins with a dot, so none is in another's way. */
export function pageCachePath(place: ProjectPlace, volume: string): OwnPath {
  return within(projectFolder(place), "volumes", volume, ".hashes");
}

/** The leaf cache of a volume. */
export function leafCachePath(place: ProjectPlace, volume: string): OwnPath {
  return within(projectFolder(place), "volumes", volume, ".leaves");
}

/** The infos of the project's manifests. */
export function infoCachePath(place: ProjectPlace): OwnPath {
  return within(projectFolder(place), "infos");
}

/** When which chunk was read back. */
export function verifiedPath(place: ProjectPlace): OwnPath {
  return within(projectFolder(place), "verified");
}

/** Sealed chunks. */
export function chunkCacheFolder(place: ProjectPlace): OwnPath {
  return within(projectFolder(place), "chunks");
}

/** What targets and sources looked like, one file for each; not tied to a project, for another may overwrite one. */
export function fileRecordsFolder(root: string): OwnPath {
  return { root, path: "files" };
}

/** All of a project, but for the file records. */
export function projectFolder({ root, repositoryId, project }: ProjectPlace): OwnPath {
  return { root, path: join(repositoryId, project) };
}
