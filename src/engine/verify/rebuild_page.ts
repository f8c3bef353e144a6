/**
 * Making a page again of the ids of its chunks. An id says what a chunk holds, not where it is stored: under its plain key
 * nearly always, else as the page at the same place of another point says, or as a patch over what that page has there.
 * The page's own id tells which is right.
 */
import { pageId, patchId } from "../../codec/ids.ts";
import { isUnreadable } from "../../errors.ts";
import { equalBytes } from "../../util/bytes.ts";
import { type ChunkLocation, type Entry, EntryList } from "../../format/entries.ts";
import { chunkName } from "../../format/layout.ts";
import { PAGE_CHUNKS } from "../../format/limits.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import { listBackupIds } from "../../project/points.ts";
import { readManifest } from "../../project/manifests.ts";
import type { Context } from "../../context.ts";
import { downloadPage } from "../../volume/page_table.ts";
import type { PagePlace } from "./findings.ts";
import type { Healing, OpenObject } from "./healing.ts";

/** Other points of the volume whose page is looked at, the nearest ones. */
const MAX_SIBLINGS = 8;

/** What a source has at the positions of a page that is wanted. */
export interface PageContent {
  object: OpenObject;
  /** Its number in the volume. */
  page: number;
  /** Every chunk under its plain key. */
  entries: EntryList;
}

/** Stores the page, if it can be made of that content; whether it is whole now. */
export async function rebuildPage(
  healing: Healing,
  { object, page, entries }: PageContent,
  context: Context,
): Promise<boolean> {
  const { finding: { key }, need: { ref, keys, pages } } = object;
  const { project } = healing.parts;
  const places = pages.filter((place) => place.page === page);
  for await (const candidate of candidates(healing, { object, places, entries }, context)) {
    const content = candidate.encode();
    if (!equalBytes(pageId(keys.pageKey, content), ref.id)) continue;
    return await healing.heal(key, async () => {
      await project.write({ type: OBJECT_TYPE.page, name: chunkName(ref), content }, {
        signal: context.signal,
        keys,
      });
      return true;
    });
  }
  return false;
}

async function* candidates(
  healing: Healing,
  { object, places, entries }: { object: OpenObject; places: PagePlace[]; entries: EntryList },
  context: Context,
): AsyncGenerator<EntryList> {
  const { chunkBytes } = healing.parts.project;
  const counts = new Set(places.map(({ page, sizeBytes }) => chunksIn(page, { sizeBytes, chunkBytes })));
  // The source may have grown since: behind the volume's end a page has zeros.
  const cut = [...counts].map((count) => cutTo(entries, count));
  yield* cut;
  for (const place of firstOfVolumes(places)) {
    const count = chunksIn(place.page, { sizeBytes: place.sizeBytes, chunkBytes });
    for await (const sibling of siblings(healing, { object, place }, context)) {
      yield await storedAs(healing, { object, sibling, ids: cutTo(entries, count) }, context);
    }
  }
}

function chunksIn(page: number, volume: { sizeBytes: number; chunkBytes: number }): number {
  return Math.min(PAGE_CHUNKS, Math.ceil(volume.sizeBytes / volume.chunkBytes) - page * PAGE_CHUNKS);
}

function cutTo(entries: EntryList, count: number): EntryList {
  const cut = entries.copy();
  for (let i = count; i < PAGE_CHUNKS; i++) cut.set(i, undefined);
  return cut;
}

function firstOfVolumes(places: readonly PagePlace[]): PagePlace[] {
  return [...new Map(places.toReversed().map((place) => [place.volume, place])).values()];
}

/** The page at that place of other points that can be read, the nearest first. */
async function* siblings(
  healing: Healing,
  { object, place }: { object: OpenObject; place: PagePlace },
  context: Context,
): AsyncGenerator<EntryList> {
  const { project } = healing.parts;
  const ids = await listBackupIds(project, place.volume, context);
  const at = ids.indexOf(place.backup);
  const nearest = ids.map((backup, i) => ({ backup, distance: Math.abs(i - at) }))
    .filter(({ backup }) => backup !== place.backup)
    .toSorted((a, b) => a.distance - b.distance).slice(0, MAX_SIBLINGS);
  for (const { backup } of nearest) {
    try {
      const { pages, keys } = await readManifest(project, { volume: place.volume, backup }, context);
      const ref = place.page < pages.length ? pages.get(place.page)?.object : undefined;
      if (ref === undefined || !equalBytes(keys.id, object.need.keys.id)) continue;
      if (chunkName(ref) === chunkName(object.need.ref)) continue;
      yield (await downloadPage(ref, { project, signal: context.signal })).entries;
    } catch (error) {
      if (!isUnreadable(error)) throw error;
    }
  }
}

/** The same content, stored as the other page says or suggests. */
async function storedAs(
  healing: Healing,
  { object, sibling, ids }: { object: OpenObject; sibling: EntryList; ids: EntryList },
  context: Context,
): Promise<EntryList> {
  for (let i = 0; i < PAGE_CHUNKS; i++) {
    const wanted = ids.get(i);
    const there = sibling.get(i);
    if (wanted === undefined || there === undefined) continue;
    const isSame = equalBytes(wanted.id, there.id);
    ids.set(i, isSame ? there : await patchedOver(healing, { object, wanted, there }, context));
  }
  return ids;
}

/** As a patch over what the other point has there, if there is that patch. */
async function patchedOver(
  healing: Healing,
  { object, wanted, there }: { object: OpenObject; wanted: ChunkLocation; there: ChunkLocation },
  { signal }: Context,
): Promise<Entry> {
  const { project } = healing.parts;
  const base = there.base ?? there.object;
  const patch = { id: patchId(object.need.keys.patchKey, wanted.id, base), lease: undefined };
  const info = await project.head(chunkName(patch), { signal });
  return info === undefined ? wanted : { id: wanted.id, object: patch, base };
}
