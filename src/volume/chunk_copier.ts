/**
 * Chunks and pages from one repository of a project into another: as they are, each opened and checked before it is
 * written. What a gc plan of the target condemns is sealed anew under a key of the copy's own. docs/gc.md.
 */
import { pageId } from "../codec/ids.ts";
import type { ProjectKeys } from "../codec/keys.ts";
import { unlessUnreadable } from "../errors.ts";
import { type ChunkLocation, EntryList, refsOf, sameLocation, wholeAt } from "../format/entries.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { PAGE_CHUNKS } from "../format/limits.ts";
import { isPossibleChunkSize } from "../format/object.ts";
import { ChunkReader } from "./read_chunk.ts";
import { later, type WrittenObject } from "./present_objects.ts";
import { StoredObjects } from "./stored_objects.ts";
import type { ChunkResources } from "./resources.ts";
import { ChunkWriter, WHOLE } from "./write_chunk.ts";
import type { CondemnedObjects } from "../project/sharing/condemned.ts";
import type { Context } from "../context.ts";
import type { Lease } from "../project/sharing/lease.ts";
import { downloadPage } from "./page_table.ts";
import type { Project } from "../project/project.ts";
import type { QuarantinedObjects } from "../project/sharing/quarantine.ts";
import { forEachLimited } from "../util/task_limiter.ts";

/** Chunks remembered as being in the target; beyond it the store is asked again. */
const MAX_REMEMBERED = 16_384;

export interface ChunkCopierOptions {
  source: Project;
  target: Project;
  resources: ChunkResources;
  /** Of the target, read after its lease was written. */
  condemned: CondemnedObjects;
  marked: QuarantinedObjects;
  /** Of the target. */
  lease: Lease;
}

/** Of all that was copied until now. */
interface CopyCounts {
  copied: number;
  /** The target had them. */
  present: number;
  bytes: number;
}

/** Another point of the target: what its pages name is there. */
export interface CopyBase {
  pages: EntryList;
  /** A gc plan of the target may condemn some of it. */
  isInDoubt: boolean;
}

interface CopyPagesOptions {
  /** What the manifest is sealed under. */
  keys: ProjectKeys;
  base: CopyBase | undefined;
  /** Told how many positions of the volume are done. */
  onPage: (positions: number) => void;
}

export class ChunkCopier {
  /** Chunks and pages; their bytes as they are stored. */
  readonly counts: CopyCounts = { copied: 0, present: 0, bytes: 0 };
  readonly #options: ChunkCopierOptions;
  readonly #context: Context;
  readonly #reader: ChunkReader;
  /** Objects by name that are in the target, or on their way. Oldest first. */
  readonly #known = new Map<string, Promise<void>>();
  /** In the target, of what was put as it is, or is there. */
  readonly #stored: StoredObjects;
  #newest: WrittenObject | undefined;

  constructor(options: ChunkCopierOptions, context: Context) {
    this.#options = options;
    this.#stored = new StoredObjects(options.target, context);
    this.#context = context;
    const { source: project, resources } = options;
    this.#reader = new ChunkReader({ project, resources }, context.signal);
  }

  /** What was written last of what was put or found in the target until now. */
  get newest(): WrittenObject | undefined {
    return later(this.#newest, this.#stored.newest);
  }

  /**
   * Copies the pages of a manifest, and what they name, and looks once more whether all of it is there; the pages as the
   * target has them. Throws `DamageError`, `MissingError`, `StoreError`.
   */
  async copyPages(
    pages: EntryList,
    { keys, base, onPage }: CopyPagesOptions,
  ): Promise<EntryList> {
    const { target, resources, condemned, marked, lease } = this.#options;
    const options = { project: target, keys, resources, condemned, marked, lease: lease.id };
    const writer = new ChunkWriter(options, this.#context);
    const copied = new EntryList(pages.length);
    const isInDoubt = base?.isInDoubt ?? false;
    try {
      for (let page = 0; page < pages.length; page++) {
        const ref = pages.get(page)?.object;
        const baseRef = base !== undefined && page < base.pages.length
          ? base.pages.get(page)?.object
          : undefined;
        if (ref !== undefined) {
          copied.set(page, wholeAt(await this.#page(ref, { keys, writer, baseRef, isInDoubt })));
        }
        onPage((page + 1) * PAGE_CHUNKS);
      }
      await Promise.all([this.#stored.check(), writer.assertStored()]);
      this.#newest = later(this.#newest, writer.newest);
    } finally {
      this.counts.bytes += writer.uploadedBytes;
    }
    return copied;
  }

  async #page(
    ref: ObjectRef,
    { keys, writer, baseRef, isInDoubt }: {
      keys: ProjectKeys;
      writer: ChunkWriter;
      baseRef: ObjectRef | undefined;
      isInDoubt: boolean;
    },
  ): Promise<ObjectRef> {
    const { source, condemned, marked } = this.#options;
    const isInBase = baseRef !== undefined && sameLocation(wholeAt(ref), wholeAt(baseRef));
    // All of it is there, and nothing of it in doubt: not even the page has to be read.
    if (isInBase && !isInDoubt && marked.none) return ref;
    const { signal } = this.#context;
    const { entries, object } = await downloadPage(ref, { project: source, signal });
    const base = isInBase ? entries : baseRef && await this.#readBase(baseRef);
    const copied = await this.#entries(entries, { writer, base });
    const isChanged = copied !== entries;
    if (!isChanged && isInBase && await writer.isUsable(ref)) return ref;
    if (!isChanged && !await condemned.has(ref)) return await this.#putAsIs(ref, object);
    const bytes = copied.encode();
    return await writer.writePage(pageId(keys.pageKey, bytes), bytes, undefined);
  }

  /** Only spares questions: one that cannot be read must not keep the copy from being made. */
  async #readBase(ref: ObjectRef): Promise<EntryList | undefined> {
    const options = { project: this.#options.target, signal: this.#context.signal };
    return (await downloadPage(ref, options).catch(unlessUnreadable))?.entries;
  }

  /** The entries as the target has them: the same list where all are as they were. */
  async #entries(
    entries: EntryList,
    { writer, base }: { writer: ChunkWriter; base: EntryList | undefined },
  ): Promise<EntryList> {
    const { resources } = this.#options;
    let changed: EntryList | undefined;
    await forEachLimited(entries.locations(), resources.window + resources.jobs, async ([at, location]) => {
      const isInBase = sameLocation(location, base?.get(at));
      const copied = await this.#chunk(location, { writer, isInBase });
      if (!sameLocation(location, copied)) (changed ??= entries.copy()).set(at, copied);
    });
    return changed ?? entries;
  }

  /** Where the chunk is in the target, once it is there. */
  async #chunk(
    location: ChunkLocation,
    { writer, isInBase }: { writer: ChunkWriter; isInBase: boolean },
  ): Promise<ChunkLocation> {
    if (isInBase && await writer.isUsable(...refsOf(location))) {
      this.counts.present++;
      return location;
    }
    if (await this.#options.condemned.has(...refsOf(location))) {
      return await this.#storeAnew(location, writer);
    }
    // What a patch is over comes first.
    for (const ref of refsOf(location).reverse()) await this.#copyOnce(ref);
    return location;
  }

  async #copyOnce(ref: ObjectRef): Promise<void> {
    const name = chunkName(ref);
    const known = this.#known.get(name);
    if (known !== undefined) return await known;
    const copied = this.#copyObject(ref);
    // Who waits for it sees the failure; nobody may be waiting.
    copied.catch(() => {});
    this.#known.set(name, copied);
    if (this.#known.size > MAX_REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
    await copied;
  }

  async #copyObject(ref: ObjectRef): Promise<void> {
    if (await this.#isThere(ref)) return;
    const buffer = await this.#options.resources.chunks.acquire();
    try {
      await this.#reader.assertObject(buffer, ref, (object) => this.#put(ref, object));
    } finally {
      buffer.release();
    }
  }

  /** A condemned key must not be referred to. */
  async #storeAnew(location: ChunkLocation, writer: ChunkWriter): Promise<ChunkLocation> {
    const buffer = await this.#options.resources.chunks.acquire();
    try {
      const length = await this.#reader.read(buffer, location);
      const { entry, outcome } = await writer.write({ buffer, length }, { position: 0, content: WHOLE });
      this.counts[outcome === "new" ? "copied" : "present"]++;
      return entry!; // only zeros have none, and no key
    } finally {
      buffer.release();
    }
  }

  async #putAsIs(ref: ObjectRef, object: Uint8Array): Promise<ObjectRef> {
    if (!await this.#isThere(ref)) await this.#put(ref, object);
    return ref;
  }

  async #isThere(ref: ObjectRef): Promise<boolean> {
    const { target, marked } = this.#options;
    if (marked.has(ref)) return false; // it may be there, and is written over
    const info = await target.head(chunkName(ref), this.#context);
    const isThere = info !== undefined && isPossibleChunkSize(info.sizeBytes, target.chunkBytes);
    if (!isThere) return false;
    this.counts.present++;
    await this.#stored.add(ref, info.sizeBytes);
    return true;
  }

  async #put(ref: ObjectRef, object: Uint8Array): Promise<void> {
    const { target } = this.#options;
    await target.put(chunkName(ref), object, { signal: this.#context.signal });
    await this.#stored.add(ref, object.length);
    this.counts.copied++;
    this.counts.bytes += object.length;
  }
}
