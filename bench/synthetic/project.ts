/**
 * Makes a project without its chunks: volumes whose points share most pages, pages and manifests sealed as a backup does. The
 * chunks that they name come in the order of their positions, as numbers; what id a number has is the caller's.
 */
import { pageId } from "../../src/codec/ids.ts";
import { sealObject } from "../../src/codec/seal.ts";
import { writeManifest } from "../../src/project/manifests.ts";
import { createProject } from "../../src/project/open_project.ts";
import type { Project } from "../../src/project/project.ts";
import { initRepository, type Repository } from "../../src/project/repository.ts";
import { backupId } from "../../src/format/backup_id.ts";
import { EntryList, wholeAt } from "../../src/format/entries.ts";
import { chunkName, type ObjectRef } from "../../src/format/layout.ts";
import { DEFAULT_CHUNK_BYTES, PAGE_CHUNKS } from "../../src/format/limits.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import type { Store } from "../../src/store/store.ts";
import { testContext } from "../../test/kit/engine.ts";

export const PROJECT = "acme";
const FIRST_POINT_MS = Date.UTC(2026, 0, 1);
const DAY_MS = 24 * 3600_000;
/** Pages that a point after the first changes. */
const CHANGED_PAGES = 4;

export interface Shape {
  volumes: number;
  /** Of each volume. */
  points: number;
  volumeChunks: number;
  /** What each point after a volume's first changes. */
  changedChunks: number;
}

/** The number of different chunks that the points of such a project refer to. */
export function chunksOf({ volumes, points, volumeChunks, changedChunks }: Shape): number {
  return volumes * (volumeChunks + (points - 1) * changedChunks);
}

export async function makeProject(
  store: Store,
  shape: Shape,
  idOf: (n: number) => Uint8Array,
): Promise<Repository> {
  const context = testContext();
  const repository = await initRepository(store, { chunkBytes: DEFAULT_CHUNK_BYTES }, context);
  const project = await createProject(repository, { name: PROJECT, secret: undefined }, context);
  let chunks = 0;
  const next = (): ObjectRef => ({ id: idOf(chunks++), lease: undefined });
  for (let volume = 0; volume < shape.volumes; volume++) {
    await makeVolume(project, { ...shape, name: `vm-${volume}` }, next);
  }
  return repository;
}

async function makeVolume(
  project: Project,
  shape: Shape & { name: string },
  next: () => ObjectRef,
): Promise<void> {
  const { volumeChunks, changedChunks } = shape;
  const pages = Array.from(
    { length: Math.ceil(volumeChunks / PAGE_CHUNKS) },
    () => new EntryList(PAGE_CHUNKS),
  );
  const refs = new EntryList(pages.length);
  for (let position = 0; position < volumeChunks; position++) {
    pages[Math.floor(position / PAGE_CHUNKS)]!.set(position % PAGE_CHUNKS, wholeAt(next()));
  }
  for (const [page, entries] of pages.entries()) refs.set(page, wholeAt(await storePage(project, entries)));
  for (let point = 0; point < shape.points; point++) {
    const changed = new Set<number>();
    for (let i = 0; point > 0 && i < changedChunks; i++) {
      const page = (point * CHANGED_PAGES + i % CHANGED_PAGES) % (pages.length - 1);
      pages[page]!.set(Math.floor(i / CHANGED_PAGES), wholeAt(next()));
      changed.add(page);
    }
    for (const page of changed) refs.set(page, wholeAt(await storePage(project, pages[page]!)));
    await storeManifest(project, { ...shape, point, pages: refs });
  }
}

async function storePage(project: Project, entries: EntryList): Promise<ObjectRef> {
  const content = entries.encode();
  const ref = { id: pageId(project.firstKey.pageKey, content), lease: undefined };
  const name = chunkName(ref);
  await project.store.put(
    project.objectKey(name),
    sealObject({ type: OBJECT_TYPE.page, name, content }, project.firstKey),
  );
  return ref;
}

async function storeManifest(
  project: Project,
  { name: volume, point, pages, volumeChunks: total, changedChunks }: Shape & {
    name: string;
    point: number;
    pages: EntryList;
  },
): Promise<void> {
  const timeMs = FIRST_POINT_MS + point * DAY_MS;
  const changed = point === 0 ? total : changedChunks;
  const info = {
    backup: backupId(timeMs, new Uint8Array(4)),
    project: project.name,
    volume,
    time: new Date(timeMs).toISOString(),
    size_bytes: total * DEFAULT_CHUNK_BYTES,
    chunk_bytes: DEFAULT_CHUNK_BYTES,
    page_chunks: PAGE_CHUNKS,
    from_snapshot: point === 0 ? null : `s${point - 1}`,
    to_snapshot: `s${point}`,
    base: point === 0 ? null : backupId(timeMs - DAY_MS, new Uint8Array(4)),
    tags: [],
    host: "storage-1",
    stream_bytes: changed * DEFAULT_CHUNK_BYTES,
    chunks: { total, changed, zero: 0, new: changed, patched: 0, reused: 0 },
    uploaded_bytes: changed * DEFAULT_CHUNK_BYTES,
    duration_s: 60,
  };
  await writeManifest(project, { info, pages, keys: project.firstKey }, {});
}
