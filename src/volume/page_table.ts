/**
 * The table of a volume's chunks, position → entry, kept in pages of 1,024. It begins as the base's table; pages are
 * loaded when asked for, a bounded number of them is in memory, and changed ones are stored when they are pushed out.
 *
 * Every page has 1,024 entries, zeros past the volume's end: the same content always has the same pages.
 */
import { pageId } from "../codec/ids.ts";
import type { ProjectKeys } from "../codec/keys.ts";
import { cannotRead } from "../errors.ts";
import { equalBytes, toHex } from "../util/bytes.ts";
import { type Entry, EntryList, wholeAt } from "../format/entries.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import { PAGE_CHUNKS } from "../format/limits.ts";
import { OBJECT_TYPE } from "../format/object.ts";
import type { Project } from "../project/project.ts";
import { readTwice } from "../project/read_twice.ts";

/** Decoded pages in memory, about 50 KiB each. */
const MAX_LOADED = 32;

/**
 * Stores a page's plaintext under its id, unless the project holds it; says where it then is. `known` is where this
 * place of the table was stored before.
 */
export type PageWriter = (
  id: Uint8Array,
  page: Uint8Array,
  known: ObjectRef | undefined,
) => Promise<ObjectRef>;

/** Pages that this host remembers; everything it gives was checked against the page's id. */
export interface LocalPages {
  find(page: number, ref: ObjectRef, keys: ProjectKeys): Promise<EntryList | undefined>;
  keep(page: number, ref: ObjectRef, entries: EntryList): void;
}

/** For who reads every page just once. */
export const noLocalPages: LocalPages = { find: () => Promise.resolve(undefined), keep: () => {} };

interface PageTableOptions {
  project: Project;
  /** The key whose ids the table holds. */
  keys: ProjectKeys;
  local: LocalPages;
  signal: AbortSignal;
}

interface LoadedPage {
  entries: EntryList;
  /** Raised by each change: a page that changes while it is stored has to be stored again. */
  version: number;
  storedVersion: number;
}

export class PageTable {
  readonly #options: PageTableOptions;
  /** Where each page is stored; `undefined` for zeros, also of a page that is only in memory so far. */
  readonly #refs: (ObjectRef | undefined)[];
  readonly #loaded = new Map<number, LoadedPage>();
  readonly #loading = new Map<number, Promise<void>>();
  readonly #storing = new Set<number>();

  /** `pages` as a manifest names them. */
  constructor(pages: EntryList, options: PageTableOptions) {
    this.#options = options;
    this.#refs = Array.from({ length: pages.length }, (_, i) => pages.get(i)?.object);
  }

  get pageCount(): number {
    return this.#refs.length;
  }

  /** Where a page is stored; `undefined` for zeros. */
  pageRef(page: number): ObjectRef | undefined {
    return this.#refs[page];
  }

  /** The entry of a position; zeros past the table's end. */
  async get(position: number): Promise<Entry> {
    const page = Math.floor(position / PAGE_CHUNKS);
    if (this.#refs[page] === undefined && !this.#loaded.has(page)) return undefined;
    return (await this.page(page)).get(position % PAGE_CHUNKS);
  }

  /** The entries of a page, for reading. */
  async page(page: number): Promise<EntryList> {
    let loaded;
    while ((loaded = this.#loaded.get(page)) === undefined) await this.#load(page);
    return loaded.entries;
  }

  /** Changes one entry; the table grows as needed. Pages that are pushed out of memory go to `write`. */
  async set(position: number, entry: Entry, write: PageWriter): Promise<void> {
    await this.#change(Math.floor(position / PAGE_CHUNKS), write, (entries) => {
      entries.set(position % PAGE_CHUNKS, entry);
    });
  }

  /** Has the page stored anew, as it is. */
  async storeAgain(page: number, write: PageWriter): Promise<void> {
    await this.#change(page, write, () => {});
  }

  /** Makes a run of positions zeros, whole pages without loading them. */
  async setZeros(position: number, count: number, write: PageWriter): Promise<void> {
    const end = position + count;
    for (let at = position; at < end;) {
      const page = Math.floor(at / PAGE_CHUNKS);
      const to = Math.min(end, (page + 1) * PAGE_CHUNKS);
      await this.#zero(page, { from: at - page * PAGE_CHUNKS, to: to - page * PAGE_CHUNKS, write });
      at = to;
    }
  }

  /**
   * Cuts or lengthens the table to `chunks` positions, stores what is changed, and names all pages. Where it is known that
   * there is nothing behind them (`isCut` is false), the last page is not read to make sure of it.
   */
  async finish(chunks: number, write: PageWriter, { isCut = true } = {}): Promise<EntryList> {
    const pages = Math.ceil(chunks / PAGE_CHUNKS);
    if (this.#refs.length > pages) {
      for (const page of this.#loaded.keys()) if (page >= pages) this.#loaded.delete(page);
      this.#refs.length = pages;
    }
    this.#growTo(pages);
    const tail = pages * PAGE_CHUNKS - chunks;
    if (tail > 0 && isCut) await this.#zero(pages - 1, { from: PAGE_CHUNKS - tail, to: PAGE_CHUNKS, write });
    for (const page of [...this.#loaded.keys()]) await this.#store(page, write);
    const list = new EntryList(pages);
    this.#refs.forEach((ref, page) => list.set(page, ref && wholeAt(ref)));
    return list;
  }

  async #zero(page: number, range: { from: number; to: number; write: PageWriter }): Promise<void> {
    this.#growTo(page + 1);
    if (this.#refs[page] === undefined && !this.#loaded.has(page)) return;
    if (range.to - range.from === PAGE_CHUNKS) {
      this.#refs[page] = undefined;
      this.#loaded.delete(page);
      return;
    }
    const entries = await this.page(page);
    let zero = true;
    for (let i = range.from; i < range.to; i++) zero &&= entries.isZero(i);
    if (zero) return;
    await this.#change(page, range.write, (entries) => {
      for (let i = range.from; i < range.to; i++) entries.set(i, undefined);
    });
  }

  async #change(page: number, write: PageWriter, change: (entries: EntryList) => void): Promise<void> {
    this.#growTo(page + 1);
    let loaded;
    while ((loaded = this.#loaded.get(page)) === undefined) await this.#load(page);
    change(loaded.entries);
    loaded.version++;
    if (this.#loaded.size > MAX_LOADED) await this.#pushOut(write);
  }

  #growTo(pages: number): void {
    while (this.#refs.length < pages) this.#refs.push(undefined);
  }

  #load(page: number): Promise<void> {
    const loading = this.#loading.get(page) ?? this.#read(page).finally(() => this.#loading.delete(page));
    this.#loading.set(page, loading);
    return loading;
  }

  async #read(page: number): Promise<void> {
    const ref = this.#refs[page];
    const entries = ref === undefined ? new EntryList(PAGE_CHUNKS) : await readPage(page, ref, this.#options);
    if (this.#loaded.size >= MAX_LOADED) this.#dropUnchanged();
    this.#loaded.set(page, { entries, version: 0, storedVersion: 0 });
  }

  /** Makes room without storing anything: a table that is only read has no other way to let go of a page. */
  #dropUnchanged(): void {
    for (const [page, { version, storedVersion }] of this.#loaded) {
      if (version === storedVersion) return void this.#loaded.delete(page);
    }
  }

  /** Stores and forgets the page that has been in memory longest. */
  async #pushOut(write: PageWriter): Promise<void> {
    const page = [...this.#loaded.keys()].find((page) => !this.#storing.has(page));
    if (page === undefined) return;
    await this.#store(page, write);
    const loaded = this.#loaded.get(page);
    if (loaded !== undefined && loaded.version === loaded.storedVersion) this.#loaded.delete(page);
  }

  async #store(page: number, write: PageWriter): Promise<void> {
    const loaded = this.#loaded.get(page)!;
    if (loaded.version === loaded.storedVersion) return;
    this.#storing.add(page);
    try {
      const { version } = loaded;
      const ref = loaded.entries.allZero ? undefined : await this.#write(loaded.entries, page, write);
      // Made zeros as a whole meanwhile: what was stored is not the table's any more.
      if (this.#loaded.get(page) !== loaded) return;
      this.#refs[page] = ref;
      loaded.storedVersion = version;
    } finally {
      this.#storing.delete(page);
    }
  }

  async #write(entries: EntryList, page: number, write: PageWriter): Promise<ObjectRef> {
    const bytes = entries.encode();
    const ref = await write(pageId(this.#options.keys.pageKey, bytes), bytes, this.#refs[page]);
    this.#options.local.keep(page, ref, EntryList.decode(bytes));
    return ref;
  }
}

/** The page of that number at `ref`, from this host's memory or the store. Throws `DamageError`, `MissingError`. */
export async function readPage(page: number, ref: ObjectRef, options: PageTableOptions): Promise<EntryList> {
  const found = await options.local.find(page, ref, options.keys);
  if (found !== undefined) return found;
  const { entries } = await downloadPage(ref, options);
  options.local.keep(page, ref, entries);
  return entries;
}

/** The page at `ref`, and its object as the store has it. What does not open is read twice. Throws `DamageError`, `MissingError`. */
export async function downloadPage(
  ref: ObjectRef,
  options: Pick<PageTableOptions, "project" | "signal">,
): Promise<{ entries: EntryList; object: Uint8Array }> {
  return await readTwice(() => downloadPageOnce(ref, options));
}

async function downloadPageOnce(
  ref: ObjectRef,
  { project, signal }: Pick<PageTableOptions, "project" | "signal">,
): Promise<{ entries: EntryList; object: Uint8Array }> {
  const name = chunkName(ref);
  const objectKey = project.objectKey(name);
  const { content, bytes, keys } = await project.readOnce({ type: OBJECT_TYPE.page, name }, { signal });
  if (!equalBytes(pageId(keys.pageKey, content), ref.id)) {
    throw cannotRead(objectKey, `it is not the page ${toHex(ref.id)}`);
  }
  try {
    return { entries: EntryList.decode(content, PAGE_CHUNKS), object: bytes };
  } catch (cause) {
    throw cannotRead(objectKey, "its entries cannot be read", cause);
  }
}
