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
interface Copying extends ChunkCopierOptions {
  onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/** What one copy holds while it works. */
interface CopyRun extends Copying {
  /** How many points are missing. */
  points: number;
  copier: ChunkCopier;
  /** What the target has, by volume, oldest first. */
  present: ReadonlyMap<string, readonly PointRef[]>;
}

/** Copies those of the points that the target does not have, each as a whole or not at all. */
export async function copyMissing(
  copying: Copying,
  points: readonly PointRef[],
  context: Context,
): Promise<CopiedPoints> {
  const { source, target } = copying;
  const present = Map.groupBy(await listPoints(target, undefined, context), ({ volume }) => volume);
  const missing = points.filter((point) => !isIn(present, point));
  const copier = new ChunkCopier(copying, context);
  const run: CopyRun = { ...copying, present, copier, points: missing.length };
  const counts = { copied: 0, present: points.length - missing.length, damaged: 0, forgotten: 0 };
  const damaged: CopiedPoints["damaged"] = [];
  let last: CopiedPoint | undefined;
  for (const [index, { volume, backup }] of missing.entries()) {
    context.signal.throwIfAborted();
    const point = { volume, backup };
    try {
      last = await copyPoint(run, { point, number: index + 1, last }, context);
      counts.copied++;
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (await isGone(source, point, context)) counts.forgotten++;
      else counts.damaged = damaged.push({ ...point, reason: describeError(error) });
    }
  }
  const { bytes, ...objects } = copier.counts;
  return { project: source.name, points: counts, objects, copied_bytes: bytes, damaged };
}

function isIn(present: CopyRun["present"], { volume, backup }: PointRef): boolean {
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
  { present, target, condemned }: CopyRun,
  { point, last }: { point: PointRef; last: CopiedPoint | undefined },
  context: Context,
): Promise<CopyBase | undefined> {
  const there = present.get(point.volume) ?? [];
  const before = there.findLast(({ backup }) => backup < point.backup);
  if (last?.volume === point.volume && (before === undefined || last.backup > before.backup)) {
    return { pages: last.pages, isInDoubt: false };
  }
  const base = before ?? there[0];
  if (base === undefined) return undefined;
  const manifest = await readManifest(target, base, context).catch(unlessUnreadable);
  if (manifest === undefined) return undefined;
  return { pages: manifest.pages, isInDoubt: await condemned.against(manifest.info) !== undefined };
}

/** Copies the point that is number `number` of those that are missing. */
async function copyPoint(
  run: CopyRun,
  { point, number, last }: { point: PointRef; number: number; last: CopiedPoint | undefined },
  context: Context,
): Promise<CopiedPoint> {
  const { source, target, copier, lease, condemned } = run;
  const base = await findBase(run, { point, last }, context);
  const manifest = await readManifest(source, point, context);
  const { size_bytes: sizeBytes, chunk_bytes } = manifest.info;
  const onPage = (positions: number) => {
    const doneBytes = Math.min(sizeBytes, positions * chunk_bytes);
    const copiedBytes = copier.counts.bytes;
    run.onProgress?.({ points: run.points, point: number, sizeBytes, doneBytes, copiedBytes });
  };
  const pages = await copier.copyPages(manifest.pages, { keys: manifest.keys, base, onPage });
  const { newest } = copier;
  await commitManifest(target, { manifest: { ...manifest, pages }, lease, condemned, newest }, context);
  return { ...point, pages };
}
