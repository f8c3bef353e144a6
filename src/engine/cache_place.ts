/** Where this host remembers things of a project. */
import type { CachePlace } from "../cache/cache_folder.ts";
import type { Context } from "./context.ts";
import type { Project } from "./project.ts";

/** `undefined` where it remembers nothing. */
export function cachePlace(project: Project, { cacheRoot }: Context): CachePlace | undefined {
  if (cacheRoot === undefined) return undefined;
  return { root: cacheRoot, repositoryId: project.repositoryId, project: project.name };
}
