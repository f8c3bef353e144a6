/**
 * Healing from a device or image that still holds content: every chunk of it is hashed under every key of the project that
 * something wanted is under. A chunk that is wanted goes up again, wherever it lies in the source; a page is made again of
 * what the source has at its positions, and its id tells whether that is the page.
 */
import type { ProjectKeys } from "../../codec/keys.ts";
import { describeError, isUnreadable } from "../../errors.ts";
import { toHex } from "../../util/bytes.ts";
import { EntryList, wholeAt } from "../../format/entries.ts";
import type { ObjectRef } from "../../format/layout.ts";
import { PAGE_CHUNKS } from "../../format/limits.ts";
import type { ChunkBuffer } from "../../volume/pool/chunk_pool.ts";
import type { Source } from "../../sources/source.ts";
import { type ChunkPiece, cutChunks, type VolumePiece } from "../../volume/chunker.ts";
import { LeafReader } from "../../volume/leaves.ts";
import { type Patch, patchOver, sealChunk } from "../../volume/seal_chunk.ts";
import type { Context } from "../../context.ts";
import { forEachLimited } from "../../util/task_limiter.ts";
import type { Healing, OpenObject } from "./healing.ts";
import { type PageContent, rebuildPage } from "./rebuild_page.ts";

/** Opens the source for one more reading; `undefined` where it can be read no more: a pipe, after the first. */
export type SourceOpener = () => Promise<Source | undefined>;

/** Pages whose content is collected in one reading, 33 KiB each. */
const MAX_PAGES = 256;

export class SourceHealer {
  /** Pages were left for another reading. */
  hasMore = false;
  readonly #open: SourceOpener;
  /** Keys that a whole reading of the source could not help with. */
  readonly #tried = new Set<string>();

  constructor(open: SourceOpener) {
    this.#open = open;
  }

  /** Reads the source once, if there is something that it was not asked for before. */
  async heal(healing: Healing, context: Context): Promise<void> {
    this.hasMore = false;
    const wanted = healing.objects().filter(({ finding: { key } }) => !this.#tried.has(key));
    const [pages, chunks] = [wanted.filter(isPage), wanted.filter((object) => !isPage(object))];
    const source = wanted.length === 0 ? undefined : await this.#open();
    if (source === undefined) return;
    this.hasMore = pages.length > MAX_PAGES;
    const reading = new Reading(healing, { pages: pages.slice(0, MAX_PAGES), chunks }, context);
    try {
      await reading.run(source);
    } finally {
      await source.close();
    }
    for (const key of reading.tried) this.#tried.add(key);
  }
}

function isPage({ need }: OpenObject): boolean {
  return need.pages.length > 0;
}

/** All that is wanted under one project key. */
interface WantedOfKey {
  keys: ProjectKeys;
  /** By the id of their content in hex: a content may be wanted under more than one key. */
  chunks: Map<string, OpenObject[]>;
  /** By their number in the volume. */
  pages: Map<number, PageContent[]>;
}

class Reading {
  /** Keys of what the source could have helped with, if it had the content. */
  readonly tried = new Set<string>();
  readonly #healing: Healing;
  readonly #context: Context;
  readonly #pages: readonly OpenObject[];
  readonly #wanted = new Map<string, WantedOfKey>();

  constructor(
    healing: Healing,
    { pages, chunks }: { pages: readonly OpenObject[]; chunks: readonly OpenObject[] },
    context: Context,
  ) {
    this.#healing = healing;
    this.#context = context;
    this.#pages = pages;
    for (const object of chunks) this.#wantChunk(object);
    for (const object of pages) this.#wantPage(object);
    for (const { finding } of [...chunks, ...pages]) this.tried.add(finding.key);
  }

  #wantChunk(object: OpenObject): void {
    const { chunks } = this.#wantedWith(object);
    const content = toHex(object.need.patch?.chunkId ?? object.need.ref.id);
    chunks.set(content, [...chunks.get(content) ?? [], object]);
  }

  #wantPage(object: OpenObject): void {
    const { pages } = this.#wantedWith(object);
    for (const page of new Set(object.need.pages.map(({ page }) => page))) {
      const content = { object, page, entries: new EntryList(PAGE_CHUNKS) };
      pages.set(page, [...pages.get(page) ?? [], content]);
    }
  }

  /** What is wanted under the same key as the object. */
  #wantedWith({ need: { keys } }: OpenObject): WantedOfKey {
    const name = toHex(keys.id);
    const known = this.#wanted.get(name) ?? { keys, chunks: new Map(), pages: new Map() };
    this.#wanted.set(name, known);
    return known;
  }

  async run(source: Source): Promise<void> {
    const { resources } = this.#healing.parts;
    for await (const diff of source.diffs()) {
      const pieces = cutChunks(diff, resources.cutting());
      await forEachLimited(pieces, resources.window, (piece) => this.#take(piece));
    }
    for (const object of this.#pages) await this.#makePage(object);
  }

  async #take(piece: VolumePiece): Promise<void> {
    if (piece.kind === "zeros") return;
    try {
      await this.#healWith(piece);
    } finally {
      piece.buffer.release();
    }
  }

  /** Heals what is wanted of the content of the chunk. */
  async #healWith(piece: ChunkPiece): Promise<void> {
    const { resources } = this.#healing.parts;
    let leavesKnown = false;
    for (const { keys, chunks, pages } of this.#wanted.values()) {
      const known = leavesKnown ? [{ from: 0, to: piece.length }] : [];
      const id = await resources.pool.hash(piece, keys, known);
      leavesKnown = true;
      if (id === undefined) return; // zeros, under every key
      for (const { entries } of pages.get(Math.floor(piece.position / PAGE_CHUNKS)) ?? []) {
        entries.set(piece.position % PAGE_CHUNKS, wholeAt({ id, lease: undefined }));
      }
      for (const object of chunks.get(toHex(id)) ?? []) {
        await this.#healing.heal(object.finding.key, () => this.#storeAgain(piece, object));
      }
    }
  }

  /** False where it is a patch, and what it is over cannot be read yet. */
  async #storeAgain(piece: ChunkBuffer, object: OpenObject): Promise<boolean> {
    const { project, resources } = this.#healing.parts;
    const { ref, keys, patch: about } = object.need;
    const patch = about && await this.#patchAgain(piece, about.base);
    if (about !== undefined && patch === undefined) {
      this.tried.delete(object.finding.key); // once that is healed, it is worth another reading
      return false;
    }
    const sealed = await resources.sealed.acquire();
    // The content may be wanted under another key too: its buffer is kept.
    const chunk = { length: piece.length, buffer: { bytes: piece.buffer.bytes, release: () => {} } };
    try {
      await sealChunk(chunk, ref, { project, keys, resources, sealed, patch, signal: this.#context.signal });
      return true;
    } finally {
      sealed.release();
    }
  }

  async #patchAgain(chunk: ChunkBuffer, base: ObjectRef): Promise<Patch | undefined> {
    const { project } = this.#healing.parts;
    const { signal, log } = this.#context;
    try {
      const leaves = await new LeafReader({ project, cache: undefined }, signal).get(base, chunk);
      return patchOver(base, { chunk, leaves, chunkBytes: project.chunkBytes });
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      log.warn({ key: error.key }, `cannot repair its patch: ${describeError(error)}`);
      return undefined;
    }
  }

  async #makePage(object: OpenObject): Promise<void> {
    const { keys } = object.need;
    const contents = [...this.#wanted.get(toHex(keys.id))!.pages.values()].flat();
    for (const content of contents.filter((content) => content.object === object)) {
      if (await rebuildPage(this.#healing, content, this.#context)) return;
    }
  }
}
