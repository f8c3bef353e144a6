/** The local caches of chunks, where this host remembers things. */
import { chunkCacheFolder, leafCachePath } from "../cache/cache_folder.ts";
import { ChunkCache } from "../cache/chunk_cache.ts";
import { LeafCache } from "../cache/leaf_cache.ts";
import { cachePlace } from "../project/cache_place.ts";
import type { Context } from "../context.ts";
import type { Project } from "../project/project.ts";
import { frontBytes } from "./leaves.ts";

export function openChunkCache(project: Project, context: Context): ChunkCache | undefined {
  const place = cachePlace(project, context);
  if (place === undefined) return undefined;
  const onDamage = (path: string) =>
    context.log.warn({ path }, "a chunk in the local cache is damaged; downloading it");
  return new ChunkCache(chunkCacheFolder(place), { onDamage });
}

export async function openLeafCache(
  project: Project,
  volume: string,
  context: Context,
): Promise<LeafCache | undefined> {
  const place = cachePlace(project, context);
  if (place === undefined) return undefined;
  return await LeafCache.open(leafCachePath(place, volume), frontBytes(project.chunkBytes));
}
