/**
 * The walk of stats: who needs which object. All manifests first, which mark their pages with their points, then each
 * page once for each volume that has it, which marks its chunks with what it was marked with itself.
 */
import { MissingError } from "../../errors.ts";
import { type EntryList, refsOf } from "../../format/entries.ts";
import { CHUNKS_PREFIX, parseChunkName, parseManifestName, VOLUMES_PREFIX } from "../../format/layout.ts";
import { type OpenManifest, readManifest } from "../catalog.ts";
import type { Context } from "../context.ts";
import { downloadPage } from "../page_table.ts";
import type { Project } from "../project.ts";
import type { PointStats, VolumeStats } from "./stats.ts";
import { UsageTable } from "./usage_table.ts";
import { mapOrdered } from "../window.ts";

/** Manifests and pages read at once. */
const READS_AT_ONCE = 16;

/** One point while it is counted; its place in the list is its number. */
export interface Point extends PointStats {
  volume: number;
}

export interface Volume extends VolumeStats {
  /** Numbers of its pages, each once. */
  pages: number[];
}

export interface Walk {
  table: UsageTable;
  volumes: Volume[];
  points: Point[];
  onPage: () => void;
}

export interface Place {
  volume: string;
  backup: string;
  sizeBytes: number;
}

/** By volume, each oldest first. */
export async function listPlaces(project: Project, { signal }: Context): Promise<Map<string, Place[]>> {
  const places: Place[] = [];
  for await (const { name, sizeBytes } of project.list(VOLUMES_PREFIX, { signal })) {
    const place = parseManifestName(name);
    if (place !== undefined) places.push({ ...place, sizeBytes });
  }
  return Map.groupBy(places, ({ volume }) => volume);
}

export async function listObjects(
  project: Project,
  onCount: (objects: number) => void,
  { signal }: Context,
): Promise<UsageTable> {
  const table = new UsageTable();
  for await (const { name, sizeBytes } of project.list(CHUNKS_PREFIX, { signal })) {
    const ref = parseChunkName(name);
    if (ref === undefined) continue;
    table.add(ref, sizeBytes);
    onCount(table.size);
  }
  return table;
}

/** Marks the pages of a volume with its points. Only once that is done for all volumes, a page knows all its points. */
export async function walkManifests(
  project: Project,
  { walk, places }: { walk: Walk; places: readonly Place[] },
  context: Context,
): Promise<void> {
  const read = (place: Place) =>
    readManifest(project, place, context).then((manifest) => ({ place, manifest }), unlessMissing);
  const volume = newVolume(places[0]!.volume);
  const number = walk.volumes.push(volume) - 1;
  const options = { limit: READS_AT_ONCE, drop: () => {} };
  for await (const found of mapOrdered(inOrder(places), read, options)) {
    if (found !== undefined) addPoint(walk, number, { ...found, volume });
  }
}

function newVolume(volume: string): Volume {
  const none = {
    points: 0,
    size_bytes: 0,
    logical_bytes: 0,
    stored_bytes: 0,
    shared_bytes: 0,
    unique_bytes: 0,
  };
  return { volume, ...none, pages: [] };
}

function addPoint(
  walk: Walk,
  number: number,
  { volume, place, manifest }: { volume: Volume; place: Place; manifest: OpenManifest },
): void {
  const { backup, time, size_bytes } = manifest.info;
  volume.points++;
  volume.size_bytes = size_bytes;
  volume.logical_bytes += size_bytes;
  volume.stored_bytes += place.sizeBytes;
  volume.unique_bytes += place.sizeBytes;
  const points = walk.points.push({
    backup,
    time,
    size_bytes,
    unique_bytes: place.sizeBytes,
    volume: number,
  });
  for (let i = 0; i < manifest.pages.length; i++) {
    const page = manifest.pages.get(i)?.object;
    const found = page && walk.table.find(page);
    if (found === undefined) continue;
    walk.table.addPoints(found, points); // the point's number + 1
    if (addToVolume(walk, found, number)) volume.pages.push(found);
  }
}

/** Whether the volume did not have it yet. */
function addToVolume({ table, volumes }: Walk, object: number, volume: number): boolean {
  const isNew = table.addVolume(object, volume);
  if (isNew) volumes[volume]!.stored_bytes += table.sizeOf(object);
  return isNew;
}

/** Marks the chunks of a volume with the points of the pages that name them. */
export async function walkPages(
  project: Project,
  { walk, number }: { walk: Walk; number: number },
  context: Context,
): Promise<void> {
  const { table, volumes } = walk;
  const read = async (page: number) => ({
    page,
    entries: await readEntries(project, { walk, page }, context),
  });
  const options = { limit: READS_AT_ONCE, drop: () => {} };
  for await (const { page, entries } of mapOrdered(inOrder(volumes[number]!.pages), read, options)) {
    const points = table.pointsOf(page);
    for (let i = 0; i < (entries?.length ?? 0); i++) {
      const entry = entries!.get(i);
      for (const ref of entry === undefined ? [] : refsOf(entry)) {
        const object = table.find(ref);
        if (object === undefined) continue;
        table.addPoints(object, points);
        addToVolume(walk, object, number);
      }
    }
    walk.onPage();
  }
}

/** `undefined` where the page was swept meanwhile. */
async function readEntries(
  project: Project,
  { walk, page }: { walk: Walk; page: number },
  { signal }: Context,
): Promise<EntryList | undefined> {
  const found = await downloadPage(walk.table.refOf(page), { project, signal }).catch(unlessMissing);
  return found?.entries;
}

function unlessMissing(error: unknown): undefined {
  if (!(error instanceof MissingError)) throw error;
}

async function* inOrder<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}
