/**
 * The walk of stats: who needs which object. All manifests first, which mark their pages with their points, then each
 * page once for each volume that has it, which marks its chunks with what it was marked with itself.
 */
import { isUnreadable, MissingError, type UnreadableError } from "../../errors.ts";
import { type EntryList, refsOf } from "../../format/entries.ts";
import { chunkName, CHUNKS_PREFIX, type ObjectRef, parseChunkName } from "../../format/layout.ts";
import { isGone, type OpenManifest, readManifest } from "../../project/manifests.ts";
import type { Context } from "../../context.ts";
import { manifests } from "../../volume/references.ts";
import type { ListedPoint } from "../../project/points.ts";
import { downloadPage } from "../../volume/page_table.ts";
import type { Project } from "../../project/project.ts";
import { UsageTable } from "./usage_table.ts";
import { mapOrdered } from "../../util/task_limiter.ts";

/** Manifests and pages read at once. */
const READS_AT_ONCE = 16;

/**
 * Stored sizes are those of the objects as the store has them: compressed, each one counted once. A figure that would be
 * wrong, because something that it depends on cannot be read, is `null`.
 */
export interface VolumeStats {
  volume: string;
  points: number;
  /** Of the newest point. */
  size_bytes: number | null;
  /** Of all points together: what they would take without deduplication and compression. */
  logical_bytes: number | null;
  /** What its points need. */
  stored_bytes: number | null;
  /** Of that: what other volumes need, too. */
  shared_bytes: number | null;
  /** Of that: what no other volume needs. Forgetting all points and gc would free it. */
  unique_bytes: number | null;
  /** Where the volume was asked for: its points, oldest first. */
  backups?: PointStats[];
}

export interface PointStats {
  backup: string;
  time: string;
  size_bytes: number;
  /** What no other point needs: forgetting this one, and gc, would free it. */
  unique_bytes: number | null;
}

/** One point while it is counted; its place in the list is its number. */
export interface Point extends Counted<PointStats> {
  volume: number;
}

interface Volume extends Counted<VolumeStats> {
  /** Numbers of its pages, each once. */
  pages: number[];
  /** Of its manifests, and of what they name: what cannot be read. */
  isIncomplete: boolean;
  /** Its manifests could all be read. */
  hasAllManifests: boolean;
  /** The newest of them was. */
  hasNewest: boolean;
}

/** Figures while they are counted: what is not known of them is told in the end. */
type Counted<T> = { [Field in keyof T]: Exclude<T[Field], null> };

export interface Walk {
  table: UsageTable;
  volumes: Volume[];
  points: Point[];
  /** Of all manifests, readable or not. */
  manifestBytes: number;
  onPage: () => void;
  /** Told of manifests and pages that cannot be read. */
  onDamage: (error: UnreadableError) => void;
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
  { walk, places }: { walk: Walk; places: readonly ListedPoint[] },
  context: Context,
): Promise<void> {
  const read = async (place: ListedPoint) => ({
    place,
    manifest: await readStanding(project, { place, walk }, context),
  });
  const volume = newVolume(places[0]!.volume);
  const number = walk.volumes.push(volume) - 1;
  for await (const { place, manifest } of mapOrdered(places, read, { limit: READS_AT_ONCE })) {
    if (manifest === "forgotten") continue;
    walk.manifestBytes += place.sizeBytes;
    volume.hasNewest = manifest !== "unreadable";
    if (manifest === "unreadable") addUnreadable(volume, place);
    else await addPoint(project, { walk, number, volume, place, manifest }, context);
  }
}

/** The manifest, or why there is none: one that was forgotten meanwhile is no damage. */
async function readStanding(
  project: Project,
  { place, walk }: { place: ListedPoint; walk: Walk },
  context: Context,
): Promise<OpenManifest | "forgotten" | "unreadable"> {
  try {
    return await readManifest(project, place, context);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    if (error instanceof MissingError && await isGone(project, place, context)) return "forgotten";
    walk.onDamage(error);
    return "unreadable";
  }
}

function addUnreadable(volume: Volume, { sizeBytes }: ListedPoint): void {
  volume.points++;
  volume.stored_bytes += sizeBytes;
  volume.unique_bytes += sizeBytes;
  volume.isIncomplete = true;
  volume.hasAllManifests = false;
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
  return { volume, ...none, pages: [], isIncomplete: false, hasAllManifests: true, hasNewest: true };
}

async function addPoint(
  project: Project,
  { walk, number, volume, place, manifest }: {
    walk: Walk;
    number: number;
    volume: Volume;
    place: ListedPoint;
    manifest: OpenManifest;
  },
  context: Context,
): Promise<void> {
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
    if (page === undefined) continue;
    const found = walk.table.find(page) ?? await findUnlisted(project, { walk, page, place }, context);
    if (found === "forgotten") return;
    if (found === "missing") volume.isIncomplete = true;
    if (found === "missing") continue;
    walk.table.addPoints(found, points); // the point's number + 1
    if (addToVolume(walk, found, number)) volume.pages.push(found);
  }
}

/** A page that the listing lacked: missing, unless the store has it all the same or its point was forgotten meanwhile. */
async function findUnlisted(
  project: Project,
  { walk, page, place }: { walk: Walk; page: ObjectRef; place: ListedPoint },
  context: Context,
): Promise<number | "missing" | "forgotten"> {
  const name = chunkName(page);
  const info = await project.head(name, context);
  if (info !== undefined) {
    walk.table.add(page, info.sizeBytes);
    return walk.table.find(page)!;
  }
  if (await isGone(project, place, context)) return "forgotten";
  const key = project.objectKey(name);
  walk.onDamage(new MissingError(key, `Cannot read "${key}": no such object`));
  return "missing";
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
  const unreadable = new Map<string, UnreadableError>();
  const read = async (page: number) => ({
    page,
    entries: await readEntries(project, { ref: table.refOf(page), unreadable }, context),
  });
  for await (const { page, entries } of mapOrdered(volumes[number]!.pages, read, { limit: READS_AT_ONCE })) {
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
  await tellNeeded(project, { walk, volume: volumes[number]!, unreadable }, context);
}

/** Of the pages that could not be read, those that a point still needs: others were swept once it was forgotten. */
async function tellNeeded(
  project: Project,
  { walk, volume, unreadable }: {
    walk: Walk;
    volume: Volume;
    unreadable: ReadonlyMap<string, UnreadableError>;
  },
  context: Context,
): Promise<void> {
  if (unreadable.size === 0) return;
  const needed = new Set<string>();
  const scope = { volume: volume.volume };
  for await (const { pages } of manifests(project, { scope, onDamage: walk.onDamage }, context)) {
    for (const ref of pages.refs()) if (unreadable.has(chunkName(ref))) needed.add(chunkName(ref));
  }
  for (const name of needed) walk.onDamage(unreadable.get(name)!);
  if (needed.size > 0) volume.isIncomplete = true;
}

/** `undefined` where it cannot be read: by name it is then among the `unreadable`. */
async function readEntries(
  project: Project,
  { ref, unreadable }: { ref: ObjectRef; unreadable: Map<string, UnreadableError> },
  { signal }: Context,
): Promise<EntryList | undefined> {
  const name = chunkName(ref);
  try {
    return (await downloadPage(ref, { project, signal })).entries;
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    unreadable.set(name, error);
    return undefined;
  }
}
