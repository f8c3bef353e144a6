/** The restore points of a project with what their manifests say, out of a local cache where there is one. */
import { infoCachePath } from "../cache/cache_folder.ts";
import { InfoCache } from "../cache/info_cache.ts";
import type { Context } from "../context.ts";
import type { DamageError } from "../errors.ts";
import type { ManifestInfo } from "../format/manifest.ts";
import { assertVolumeName } from "../format/names.ts";
import { mapOrdered } from "../util/task_limiter.ts";
import { cachePlace } from "./cache_place.ts";
import { infoOrDamage } from "./manifests.ts";
import type { PointRef } from "./point_ref.ts";
import { type ListedPoint, listPoints } from "./points.ts";
import type { Project } from "./project.ts";

/** The beginnings of manifests read at once. */
const READS_AT_ONCE = 32;

/** A manifest as it stands in the store. */
interface ReadPoint extends PointRef {
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
): AsyncGenerator<ReadPoint> {
  if (volume !== undefined) assertVolumeName(volume);
  const cacheAt = cachePlace(project, context);
  const cache = await InfoCache.open(cacheAt === undefined ? undefined : infoCachePath(cacheAt));
  const listed = await listPoints(project, volume, context);
  const read = async ({ volume, backup, modifiedMs }: ListedPoint): Promise<ReadPoint | undefined> => {
    const info = await infoOrDamage(project, { volume, backup, cache }, context);
    return info && { volume, backup, modifiedMs, info };
  };
  for await (const point of mapOrdered(listed, read, { limit: READS_AT_ONCE })) {
    if (point !== undefined) yield point;
  }
  if (volume === undefined) cache.keepOnly(new Set(listed.map(({ name }) => name)));
  await cache.save();
}
