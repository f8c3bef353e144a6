/**
 * Stats: what a project's volumes and points need of the store, alone and together with others. One listing and one walk
 * over all pages; objects are numbers in a flat table, never JavaScript objects.
 */
import type { Secret } from "../../codec/keys.ts";
import { VarveError } from "../../errors.ts";
import { checkVolumeName } from "../../format/names.ts";
import type { Context } from "../context.ts";
import { openProject } from "../project.ts";
import type { Repository } from "../repository.ts";
import { MANY } from "./usage_table.ts";
import { listObjects, listPlaces, type Point, type Walk, walkManifests, walkPages } from "./usage_walk.ts";

export interface StatsOptions {
  project: string;
  /** Tells of this volume's points, too. */
  volume?: string | undefined;
  secret: Secret;
  onProgress?: ((progress: StatsProgress) => void) | undefined;
}

export interface StatsProgress {
  /** Listed. */
  objects: number;
  /** Read. */
  pages: number;
}

/** Stored sizes are those of the objects as the store has them: compressed, each one counted once. */
export interface VolumeStats {
  volume: string;
  points: number;
  /** Of the newest point. */
  size_bytes: number;
  /** Of all points together: what they would take without deduplication and compression. */
  logical_bytes: number;
  /** What its points need. */
  stored_bytes: number;
  /** Of that: what other volumes need, too. */
  shared_bytes: number;
  /** Of that: what no other volume needs. Forgetting all points and gc would free it. */
  unique_bytes: number;
  /** Where the volume was asked for: its points, oldest first. */
  backups?: PointStats[];
}

export interface PointStats {
  backup: string;
  time: string;
  size_bytes: number;
  /** What no other point needs: forgetting this one, and gc, would free it. */
  unique_bytes: number;
}

/** The JSON of `varve stats PROJECT`. */
export interface ProjectStats {
  project: string;
  points: number;
  logical_bytes: number;
  /** Chunks, pages and manifests. */
  objects: number;
  stored_bytes: number;
  /** Of that: what no point needs. gc deletes it. */
  unreferenced_bytes: number;
  volumes: VolumeStats[];
}

/**
 * Counts a project. What is forgotten or swept meanwhile is left out. Throws `DamageError` where a manifest or page
 * cannot be read, `failed` where there is no such project or volume.
 */
export async function stats(
  repository: Repository,
  options: StatsOptions,
  context: Context,
): Promise<ProjectStats> {
  const { project: name, secret, volume } = options;
  if (volume !== undefined) checkVolumeName(volume);
  const project = await openProject(repository, { name, secret, create: false }, context);
  // In this order: whatever a manifest needs was there before it.
  const places = await listPlaces(project, context);
  if (volume !== undefined && !places.has(volume)) {
    throw new VarveError("failed", `Cannot find "${name}/${volume}": it has no backups`);
  }
  const progress = { objects: 0, pages: 0 };
  const tell = (part: Partial<StatsProgress>) => options.onProgress?.(Object.assign(progress, part));
  const table = await listObjects(project, (objects) => tell({ objects }), context);
  const walk: Walk = { table, volumes: [], points: [], onPage: () => tell({ pages: progress.pages + 1 }) };
  for (const some of places.values()) await walkManifests(project, { walk, places: some }, context);
  for (const number of walk.volumes.keys()) await walkPages(project, { walk, number }, context);
  return report(name, walk, volume);
}

function report(project: string, walk: Walk, wanted: string | undefined): ProjectStats {
  const { table, volumes, points } = walk;
  const sum = (values: number[]) => values.reduce((sum, value) => sum + value, 0);
  const manifests = sum(points.map((point) => point.unique_bytes));
  const { stored, unreferenced } = countObjects(walk);
  return {
    project,
    points: points.length,
    logical_bytes: sum(volumes.map((volume) => volume.logical_bytes)),
    objects: table.size + points.length,
    stored_bytes: stored + manifests,
    unreferenced_bytes: unreferenced,
    volumes: volumes.map(({ pages: _, ...volume }, number) => ({
      ...volume,
      shared_bytes: volume.stored_bytes - volume.unique_bytes,
      ...(volume.volume === wanted ? { backups: pointsOf(points, number) } : {}),
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

function pointsOf(points: readonly Point[], number: number): PointStats[] {
  return points.filter(({ volume }) => volume === number).map(({ volume: _, ...point }) => point);
}
