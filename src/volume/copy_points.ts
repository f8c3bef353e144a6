/** Copies restore points into another store of the project, each as a whole or not at all: what `copy` and `repair` share. */
import { describeError, isUnreadable, unlessUnreadable } from "../errors.ts";
import type { EntryList } from "../format/entries.ts";
import type { Context } from "../context.ts";
import { isGone, readManifest } from "../project/manifests.ts";
import { listPoints } from "../project/points.ts";
import type { PointRef } from "../project/point_ref.ts";
import { ChunkCopier, type ChunkCopierOptions, type CopyBase } from "./chunk_copier.ts";
import { commitManifest } from "./commit.ts";

export interface CopyProgress {
  /** Points to be copied, and the one at work, from 1. */
  points: number;
  point: number;
  /** Of the point at work. */
  sizeBytes: number;
  doneBytes: number;
  copiedBytes: number;
}

/** What came of it, as JSON tells it. */
export interface CopiedPoints {
  project: string;
  points: {
    copied: number;
    /** They were there. */
    present: number;
    /** They cannot be read as a whole, and were not copied. */
    damaged: number;
    /** They were forgotten here meanwhile. */
    forgotten: number;
  };
  /** Chunks and pages; those of points that were there are not counted. */
  objects: { copied: number; present: number };
  copied_bytes: number;
  damaged: (PointRef & { reason: string })[];
}

/** What points are copied with. */
export interface Copying extends ChunkCopierOptions {
  onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/** What one copy holds while it works. */
interface Run extends Copying {
  copier: ChunkCopier;
  /** What the target has, by volume, oldest first. */
  present: ReadonlyMap<string, readonly PointRef[]>;
}

/** Copies those of the points that the target does not have, each as a whole or not at all. */
export async function copyMissing(
  copying: Copying,
  places: readonly PointRef[],
  context: Context,
): Promise<CopiedPoints> {
  const { source } = copying;
  const present = Map.groupBy(await listPoints(copying.target, undefined, context), ({ volume }) => volume);
  const copier = new ChunkCopier(copying, context);
  const run: Run = { ...copying, present, copier };
  const missing = places.filter((place) => !isIn(present, place));
  const damaged: CopiedPoints["damaged"] = [];
  let forgotten = 0;
  let last: CopiedPoint | undefined;
  for (const [index, place] of missing.entries()) {
    context.signal.throwIfAborted();
    try {
      const base = await findBase(run, { place, last }, context);
      const onProgress = (at: { sizeBytes: number; doneBytes: number }) =>
        copying.onProgress?.({
          points: missing.length,
          point: index + 1,
          copiedBytes: copier.counts.bytes,
          ...at,
        });
      last = await copyPoint(run, { place, base, onProgress }, context);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (await isGone(source, place, context)) forgotten++;
      else damaged.push({ ...place, reason: describeError(error) });
    }
  }
  const points = {
    copied: missing.length - damaged.length - forgotten,
    present: places.length - missing.length,
    damaged: damaged.length,
    forgotten,
  };
  const { bytes, ...objects } = copier.counts;
  return { project: source.name, points, objects, copied_bytes: bytes, damaged };
}

function isIn(present: Run["present"], { volume, backup }: PointRef): boolean {
  return present.get(volume)?.some((there) => there.backup === backup) ?? false;
}

/** A point of the target and the pages that it has there. */
interface CopiedPoint extends PointRef {
  pages: EntryList;
}

/**
 * What the target has and is likely to be most like the point: the point before it, else the one after it. Only spares
 * questions to the store.
 */
async function findBase(
  { present, target, condemned }: Run,
  { place, last }: { place: PointRef; last: CopiedPoint | undefined },
  context: Context,
): Promise<CopyBase | undefined> {
  const there = present.get(place.volume) ?? [];
  const before = there.findLast(({ backup }) => backup < place.backup);
  if (last?.volume === place.volume && (before === undefined || last.backup > before.backup)) {
    return { pages: last.pages, isInDoubt: false };
  }
  const base = before ?? there[0];
  if (base === undefined) return undefined;
  const manifest = await readManifest(target, base, context).catch(unlessUnreadable);
  if (manifest === undefined) return undefined;
  return { pages: manifest.pages, isInDoubt: await condemned.against(manifest.info) !== undefined };
}

async function copyPoint(
  { source, target, copier, lease, condemned }: Run,
  { place, base, onProgress }: {
    place: PointRef;
    base: CopyBase | undefined;
    onProgress: (at: { sizeBytes: number; doneBytes: number }) => void;
  },
  context: Context,
): Promise<CopiedPoint> {
  const manifest = await readManifest(source, place, context);
  const { size_bytes: sizeBytes, chunk_bytes } = manifest.info;
  const onPage = (positions: number) =>
    onProgress({ sizeBytes, doneBytes: Math.min(sizeBytes, positions * chunk_bytes) });
  const pages = await copier.copyPages(manifest.pages, { keys: manifest.keys, base, onPage });
  const { newest } = copier;
  await commitManifest(target, { manifest: { ...manifest, pages }, lease, condemned, newest }, context);
  return { ...place, pages };
}
