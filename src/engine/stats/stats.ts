/**
 * Stats: what a project's volumes and points need of the store, alone and together with others. One listing and one walk
 * over all pages; objects are numbers in a flat table, never JavaScript objects.
 */
import type { Secret } from "../../codec/keys.ts";
import { describeError, type UnreadableError } from "../../errors.ts";
import { assertVolumeName } from "../../format/names.ts";
import type { Context } from "../../context.ts";
import { noBackups } from "../../project/not_found.ts";
import { listPointsOnce } from "../../project/points.ts";
import { openProject } from "../../project/open_project.ts";
import { QuarantinedObjects } from "../../project/sharing/quarantine.ts";
import type { Repository } from "../../project/repository.ts";
import { MANY } from "./usage_table.ts";
import {
  listObjects,
  type Point,
  type PointStats,
  type VolumeStats,
  type Walk,
  walkManifests,
  walkPages,
} from "./usage_walk.ts";

export interface StatsOptions {
  project: string;
  /** Tells of this volume's points, too. */
  volume?: string | undefined;
  secrets: readonly Secret[];
  onProgress?: ((progress: StatsProgress) => void) | undefined;
}

export interface StatsProgress {
  /** Listed. */
  objects: number;
  /** Read. */
  pages: number;
  /** To be read; `undefined` before all manifests were. */
  ofPages: number | undefined;
}

/** The JSON of `varve stats PROJECT`. */
export interface ProjectStats {
  project: string;
  points: number;
  logical_bytes: number | null;
  /** Chunks, pages and manifests. */
  objects: number;
  stored_bytes: number;
  /** Of that: what no point needs. gc deletes it. */
  unreferenced_bytes: number | null;
  /** Chunks and pages that a repair has marked as not to be used. */
  marked: number;
  volumes: VolumeStats[];
  /** Manifests and pages that cannot be read: what they need is not known. */
  unreadable: { key: string; reason: string }[];
}

/**
 * Counts a project. What is forgotten or swept meanwhile is left out. Throws `failed` where there is no such project or
 * volume.
 */
export async function stats(
  repository: Repository,
  options: StatsOptions,
  context: Context,
): Promise<ProjectStats> {
  const { project: name, secrets, volume } = options;
  if (volume !== undefined) assertVolumeName(volume);
  const project = await openProject(repository, { name, secrets }, context);
  // In this order: whatever a manifest needs was there before it.
  const listed = await Array.fromAsync(listPointsOnce(project, undefined, context));
  const places = Map.groupBy(listed, ({ volume }) => volume);
  if (volume !== undefined && !places.has(volume)) {
    throw await noBackups(project, volume, context);
  }
  const progress: StatsProgress = { objects: 0, pages: 0, ofPages: undefined };
  const tell = (part: Partial<StatsProgress>) => options.onProgress?.(Object.assign(progress, part));
  const table = await listObjects(project, (objects) => tell({ objects }), context);
  const unreadable = new Map<string, UnreadableError>();
  const walk: Walk = {
    ...{ table, volumes: [], points: [], manifestBytes: 0 },
    onPage: () => tell({ pages: progress.pages + 1 }),
    onDamage: (error) => unreadable.set(error.key, error),
  };
  for (const some of places.values()) await walkManifests(project, { walk, places: some }, context);
  tell({ ofPages: walk.volumes.reduce((sum, { pages }) => sum + pages.length, 0) });
  for (const number of walk.volumes.keys()) await walkPages(project, { walk, number }, context);
  const { size: marked } = await QuarantinedObjects.read(project, context);
  return {
    project: name,
    ...report(walk, { wanted: volume, isComplete: unreadable.size === 0 }),
    marked,
    unreadable: [...unreadable.values()].map((error) => ({ key: error.key, reason: describeError(error) })),
  };
}

/** One page that cannot be read may need any object: what is shared, unique or garbage is not known then, of no volume. */
function report(
  walk: Walk,
  { wanted, isComplete }: { wanted: string | undefined; isComplete: boolean },
): Omit<ProjectStats, "project" | "marked" | "unreadable"> {
  const { table, volumes, points, manifestBytes } = walk;
  const sum = (values: number[]) => values.reduce((sum, value) => sum + value, 0);
  const { stored, unreferenced } = countObjects(walk);
  const count = sum(volumes.map((volume) => volume.points));
  const hasAllManifests = volumes.every((volume) => volume.hasAllManifests);
  const only = (condition: boolean, value: number) => condition ? value : null;
  return {
    points: count,
    logical_bytes: only(hasAllManifests, sum(volumes.map((volume) => volume.logical_bytes))),
    objects: table.size + count,
    stored_bytes: stored + manifestBytes,
    unreferenced_bytes: only(isComplete, unreferenced),
    volumes: volumes.map((volume, number) => ({
      volume: volume.volume,
      points: volume.points,
      size_bytes: only(volume.hasNewest, volume.size_bytes),
      logical_bytes: only(volume.hasAllManifests, volume.logical_bytes),
      stored_bytes: only(!volume.isIncomplete, volume.stored_bytes),
      shared_bytes: only(isComplete, volume.stored_bytes - volume.unique_bytes),
      unique_bytes: only(isComplete, volume.unique_bytes),
      ...(volume.volume === wanted ? { backups: pointsOf(points, { number, isComplete }) } : {}),
    })).filter(({ volume, points }) => points > 0 && (wanted === undefined || volume === wanted)),
  };
}

/** Adds each object to the volume and the point that alone need it. */
function countObjects({ table, volumes, points }: Walk): { stored: number; unreferenced: number } {
  let stored = 0;
  let unreferenced = 0;
  for (let object = 0; object < table.size; object++) {
    const bytes = table.sizeOf(object);
    const needed = table.pointsOf(object);
    const volume = table.onlyVolumeOf(object);
    stored += bytes;
    if (needed === 0) unreferenced += bytes;
    else if (needed !== MANY) points[needed - 1]!.unique_bytes += bytes;
    if (volume !== undefined) volumes[volume]!.unique_bytes += bytes;
  }
  return { stored, unreferenced };
}

function pointsOf(
  points: readonly Point[],
  { number, isComplete }: { number: number; isComplete: boolean },
): PointStats[] {
  return points.filter(({ volume }) => volume === number).map(({ volume: _, ...point }) => {
    return { ...point, unique_bytes: isComplete ? point.unique_bytes : null };
  });
}
