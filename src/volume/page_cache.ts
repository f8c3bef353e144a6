/** The hash cache of one volume as the engine uses it: pages out of it are checked against their ids, and it is renewed. */
import { pageId } from "../codec/ids.ts";
import type { ProjectKeys } from "../codec/keys.ts";
import { pageCachePath } from "../cache/cache_folder.ts";
import { type OwnPath, pathOf } from "../os/own_path.ts";
import { PageCacheFile, writePageCache } from "../cache/page_cache_file.ts";
import { describeError } from "../errors.ts";
import { equalBytes } from "../util/bytes.ts";
import { EntryList } from "../format/entries.ts";
import type { ObjectRef } from "../format/layout.ts";
import { PAGE_CHUNKS } from "../format/limits.ts";
import { cachePlace } from "../project/cache_place.ts";
import type { OpenManifest } from "../project/manifests.ts";
import type { Context } from "../context.ts";
import { type LocalPages, readPage } from "./page_table.ts";
import type { Project } from "../project/project.ts";

/** Pages of this run kept for the renewal, 33 KiB each and up to four times that with patches; others are read again. */
const MAX_FRESH = 128;

interface VolumePlace {
  project: Project;
  volume: string;
}

export class PageCache implements LocalPages {
  readonly #place: VolumePlace;
  readonly #file: OwnPath | undefined;
  readonly #context: Context;
  readonly #fresh = new Map<number, { id: Uint8Array; bytes: Uint8Array }>();
  #cache: PageCacheFile | undefined;
  /** The pages that the cache has to hold, once the manifest of its backup was seen. */
  #claimed: EntryList | undefined;
  #isDamaged = false;

  private constructor(place: VolumePlace, context: Context) {
    this.#place = place;
    this.#context = context;
    const at = cachePlace(place.project, context);
    this.#file = at === undefined ? undefined : pageCachePath(at, place.volume);
  }

  /** Never fails: without a cache it remembers just the pages of this run. */
  static async open(place: VolumePlace, context: Context): Promise<PageCache> {
    const cache = new PageCache(place, context);
    if (cache.#file === undefined) return cache;
    const opened = await PageCacheFile.open(cache.#file);
    if (opened === "damaged" || (opened !== undefined && !isOf(place, opened))) cache.#damaged();
    if (opened !== "damaged") cache.#cache = opened;
    return cache;
  }

  /** Nothing is remembered of the volume yet. */
  get isCold(): boolean {
    return this.#cache === undefined;
  }

  /** Tells of a manifest that was read: if the cache is of that backup, any page that is not as it says is damage. */
  expect({ info, pages }: OpenManifest): void {
    if (this.#cache?.head.backup === info.backup) this.#claimed = pages;
  }

  async find(page: number, ref: ObjectRef, keys: ProjectKeys): Promise<EntryList | undefined> {
    const fresh = this.#fresh.get(page);
    if (fresh !== undefined && equalBytes(fresh.id, ref.id)) return EntryList.decode(fresh.bytes);
    try {
      const bytes = await this.#cache?.page(page);
      if (bytes !== undefined && equalBytes(pageId(keys.pageKey, bytes), ref.id)) {
        return EntryList.decode(bytes, PAGE_CHUNKS);
      }
      const claimed = this.#claimed?.get(page);
      if (claimed !== undefined && equalBytes(claimed.id, ref.id)) this.#damaged();
    } catch {
      this.#damaged();
    }
    return undefined;
  }

  keep(page: number, ref: ObjectRef, entries: EntryList): void {
    this.#fresh.delete(page);
    this.#fresh.set(page, { id: ref.id, bytes: entries.encode() });
    if (this.#fresh.size > MAX_FRESH) this.#fresh.delete(this.#fresh.keys().next().value!);
  }

  /**
   * Makes the cache that of `manifest`, unless it is whole and as new. Of backups the one with the later date counts as new,
   * unless it is known that this is the latest (`isLatest`). A cache that cannot be written is said.
   */
  async renew({ info, pages, keys }: OpenManifest, { isLatest = false } = {}): Promise<void> {
    const isNewer = isLatest || this.#isDamaged || this.#cache === undefined ||
      this.#cache.head.backup < info.backup;
    if (this.#file === undefined || !isNewer) return;
    const { project, volume } = this.#place;
    const options = { project, keys, local: this, signal: this.#context.signal };
    async function* all() {
      for (let page = 0; page < pages.length; page++) {
        const ref = pages.get(page)?.object;
        yield ref === undefined ? undefined : (await readPage(page, ref, options)).encode();
      }
    }
    try {
      const about = { repository: project.repositoryId, project: project.name, volume, backup: info.backup };
      await writePageCache(this.#file, { ...about, pages: pages.length }, all());
    } catch (error) {
      this.#context.log.warn(
        { path: pathOf(this.#file) },
        `could not write the local hash cache: ${describeError(error)}`,
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cache?.close();
    this.#cache = undefined;
  }

  #damaged(): void {
    if (!this.#isDamaged && this.#file !== undefined) {
      this.#context.log.warn({ path: pathOf(this.#file) }, "the local hash cache is damaged; rebuilding it");
    }
    this.#isDamaged = true;
  }
}

function isOf({ project, volume }: VolumePlace, { head }: PageCacheFile): boolean {
  return head.repository === project.repositoryId && head.project === project.name && head.volume === volume;
}
