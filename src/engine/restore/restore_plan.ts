/** What has to be at each position of the target, and what is known to be there: no reading, no writing. */
import { describeError, isUnreadable } from "../../errors.ts";
import { sameBytes } from "../../util/bytes.ts";
import type { ByteRange } from "../../util/byte_ranges.ts";
import { type Entry, EntryList } from "../../format/entries.ts";
import { chunkLength, PAGE_CHUNKS } from "../../format/limits.ts";
import type { OpenManifest } from "../../project/manifests.ts";
import type { ChangedChunks } from "./changed_chunks.ts";
import { type LocalPages, readPage } from "../../volume/page_table.ts";
import type { Project } from "../../project/project.ts";

/** A position of the volume and what the backup has there. */
export interface Wanted {
  /** Of the chunk, in the volume. */
  offset: number;
  length: number;
  /** The part of the chunk that is asked for. */
  part: { from: number; to: number };
  entry: Entry;
  /** Of the target there: the same content, another, or not known. */
  target: "same" | "different" | "unknown";
  /** The page that names the chunk is damaged. */
  damage?: { key: string; reason: string };
}

/** The target is as this backup, except for the changed chunks. */
export interface KnownState {
  base: OpenManifest;
  changed: ChangedChunks;
}

export interface RestorePlan {
  project: Project;
  manifest: OpenManifest;
  known: KnownState | undefined;
  /** Bytes of the volume that are asked for. */
  range: ByteRange;
  local: LocalPages;
  signal: AbortSignal;
}

type PageRead = { entries: EntryList } | { damage: { key: string; reason: string } };

/** Every position in the range, ascending. A damaged page of the manifest makes damaged positions. */
export async function* planRestore(plan: RestorePlan): AsyncGenerator<Wanted> {
  const { info } = plan.manifest;
  const end = Math.min(plan.range.offset + plan.range.length, info.size_bytes);
  const first = Math.floor(plan.range.offset / info.chunk_bytes);
  const last = Math.ceil(end / info.chunk_bytes);
  for (let page = Math.floor(first / PAGE_CHUNKS); page * PAGE_CHUNKS < last; page++) {
    const read = await readBoth(plan, page);
    const to = Math.min(last, (page + 1) * PAGE_CHUNKS);
    for (let at = Math.max(first, page * PAGE_CHUNKS); at < to; at++) {
      const offset = at * info.chunk_bytes;
      const length = lengthAt(at, plan.manifest);
      const part = { from: Math.max(0, plan.range.offset - offset), to: Math.min(length, end - offset) };
      yield { offset, length, part, ...wantedAt(plan, read, at) };
    }
  }
}

interface PagePair {
  /** The page is the same in the base, and nothing in it was changed. */
  same: boolean;
  wanted: PageRead;
  base: EntryList | undefined;
}

/** Pages that are known to be the same are not read at all: what did not change costs nothing. */
async function readBoth(plan: RestorePlan, page: number): Promise<PagePair> {
  const { manifest, known } = plan;
  const ref = manifest.pages.get(page)?.object;
  const baseRef = known === undefined || page >= known.base.pages.length
    ? undefined
    : known.base.pages.get(page)?.object;
  const same = known !== undefined && sameBytes(ref?.id, baseRef?.id) && !known.changed.inPage(page);
  if (same) return { same, wanted: { entries: new EntryList(0) }, base: undefined };
  const wanted = await readOne(plan, page, manifest);
  const base = known === undefined ? undefined : await readOne(plan, page, known.base);
  return { same, wanted, base: base !== undefined && "entries" in base ? base.entries : undefined };
}

async function readOne(plan: RestorePlan, page: number, { pages, keys }: OpenManifest): Promise<PageRead> {
  const ref = page < pages.length ? pages.get(page)?.object : undefined;
  if (ref === undefined) return { entries: new EntryList(PAGE_CHUNKS) };
  const { project, local, signal } = plan;
  try {
    return { entries: await readPage(page, ref, { project, keys, local, signal }) };
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return { damage: { key: error.key, reason: describeError(error) } };
  }
}

function wantedAt(
  plan: RestorePlan,
  read: PagePair,
  position: number,
): Pick<Wanted, "entry" | "target" | "damage"> {
  if (read.same) return { entry: undefined, target: "same" };
  if ("damage" in read.wanted) return { entry: undefined, target: "unknown", damage: read.wanted.damage };
  const entry = read.wanted.entries.get(position % PAGE_CHUNKS);
  const { known, manifest } = plan;
  const length = lengthAt(position, manifest);
  // A chunk of another length has another id, also where its bytes are the same.
  if (
    known === undefined || read.base === undefined || known.changed.has(position, length) ||
    lengthAt(position, known.base) !== length
  ) {
    return { entry, target: "unknown" };
  }
  const base = read.base.get(position % PAGE_CHUNKS);
  return { entry, target: sameBytes(entry?.id, base?.id) ? "same" : "different" };
}

function lengthAt(position: number, { info }: OpenManifest): number {
  return chunkLength(position, { sizeBytes: info.size_bytes, chunkBytes: info.chunk_bytes });
}
