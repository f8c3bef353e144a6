/** Where this host remembers things of a project. */
import type { CachePlace } from "../cache/cache_folder.ts";
import { cacheKey } from "../codec/cache_key.ts";
import type { Context } from "../context.ts";
import type { Project } from "./project.ts";

/** `undefined` where it remembers nothing. */
export function cachePlace(project: Project, { cacheRoot }: Context): CachePlace | undefined {
  if (cacheRoot === undefined) return undefined;
  const { repositoryId, name } = project;
  return { root: cacheRoot, repositoryId, project: name, key: cacheKey(project.firstKey) };
}
