/** Volumes that change by blocks, and what the store has of them: whole chunks, patches, and which is over which. */
import { findBackup } from "../../src/project/find_backup.ts";
import { readManifest } from "../../src/project/manifests.ts";
import { openProject } from "../../src/project/open_project.ts";
import { downloadPage } from "../../src/volume/page_table.ts";
import type { Repository } from "../../src/project/repository.ts";
import type { Entry } from "../../src/format/entries.ts";
import { chunkName, type ObjectRef, projectPrefix } from "../../src/format/layout.ts";
import { BLOCK_BYTES } from "../../src/format/limits.ts";
import { CHUNK_BYTES, noise, PROJECT, testContext, VOLUME } from "./engine.ts";
import { data, type TestExtent } from "./memory_source.ts";

/** Blocks of a chunk, and how many of them a patch has at most. */
export const CHUNK_BLOCKS = CHUNK_BYTES / BLOCK_BYTES;
export const PATCH_BLOCKS = CHUNK_BLOCKS / 4 - 1;

/** A block of a chunk with the noise of `seed`. */
export function block(position: number, index: number, seed: number): TestExtent {
  return data(position * CHUNK_BYTES + index * BLOCK_BYTES, noise(seed, BLOCK_BYTES));
}

/** The first `count` blocks of a chunk. */
export function blocks(position: number, count: number, seed: number): TestExtent[] {
  return Array.from({ length: count }, (_, index) => block(position, index, seed + index));
}

/** A copy of the volume with the extents written to it. */
export function written(volume: Uint8Array, extents: readonly TestExtent[]): Uint8Array {
  const copy = volume.slice();
  for (const { offset, length, data } of extents) copy.set(data ?? new Uint8Array(length), offset);
  return copy;
}

/** A point's manifest, in a project without a passphrase. */
async function openPoint(repository: Repository, point: string, volume: string) {
  const context = testContext();
  const project = await openProject(repository, { name: PROJECT, secrets: [] }, context);
  const backup = await findBackup(project, { volume, point }, context);
  return { project, ...await readManifest(project, { volume, backup }, context) };
}

/** Where each chunk of a point's first page is stored. */
export async function placesOf(repository: Repository, point = "latest", volume = VOLUME): Promise<Entry[]> {
  const { project, info, pages } = await openPoint(repository, point, volume);
  const page = pages.get(0);
  if (page === undefined) return [];
  const { entries } = await downloadPage(page.object, { project, signal: testContext().signal });
  const total = Math.ceil(info.size_bytes / info.chunk_bytes);
  return Array.from({ length: total }, (_, position) => entries.get(position));
}

/** The key of a point's first page; `undefined` where it is all zeros. */
export async function pageKeyOf(
  repository: Repository,
  point = "latest",
  volume = VOLUME,
): Promise<string | undefined> {
  const page = (await openPoint(repository, point, volume)).pages.get(0);
  return page && objectKey(page.object);
}

/** The object's key in the store. */
export function objectKey(ref: ObjectRef): string {
  return projectPrefix(PROJECT) + chunkName(ref);
}
