/**
 * Which chunks, patches and pages the store holds, by what it said itself in this run. Few are asked for one by one; of many,
 * the project's objects are listed, in sixteen parts side by side, where that takes fewer requests than questions.
 */
import { chunkName, CHUNKS_PREFIX, type ObjectRef, parseChunkName } from "../format/layout.ts";
import type { ObjectInfo } from "../store/store.ts";
import { IdSet } from "./id_set.ts";
import type { Project } from "../project/project.ts";

/** First digits of ids. */
const PARTS = 16;
/** What S3 gives for one request to list. */
const PAGE_KEYS = 1000;
/** Ids held at once, 19 MiB of table; of what was not listed then the store is asked. */
const MAX_IDS = 390_000;

/** An object of a project, and when it was written by the store's clock. */
export interface WrittenObject {
  name: string;
  modifiedMs: number;
}

/** The one that was written later. */
export function later(
  a: WrittenObject | undefined,
  b: WrittenObject | undefined,
): WrittenObject | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.modifiedMs > b.modifiedMs ? a : b;
}

interface PresentOptions {
  signal: AbortSignal;
  /** How many will be asked for, where that is known. */
  expected?: number | undefined;
  /** Only these are asked for; without it any may be. */
  only?: IdSet | undefined;
}

/** How far the ids with one first digit were listed. */
interface Part {
  prefix: string;
  pages: number;
  /** How many there are, by the share of the ids that the first one had. */
  pagesLikely: number;
  /** The last name that was told; all before it are known. */
  until: string;
  isComplete: boolean;
  listing: Promise<void> | undefined;
}

export class PresentObjects {
  readonly #project: Project;
  readonly #options: PresentOptions;
  readonly #parts: Part[];
  /** Plain keys, each marked with its size. */
  readonly #sizes = new IdSet();
  /** Of keys with a suffix, by name: they are few. */
  readonly #suffixed = new Map<string, ObjectInfo>();
  #asked: number;
  #newest: WrittenObject | undefined;

  constructor(project: Project, options: PresentOptions) {
    this.#project = project;
    this.#options = options;
    this.#asked = options.expected ?? 0;
    this.#parts = Array.from({ length: PARTS }, (_, digit) => {
      const prefix = CHUNKS_PREFIX + digit.toString(16);
      return { prefix, pages: 0, pagesLikely: 1, until: "", isComplete: false, listing: undefined };
    });
  }

  /** Of the objects that were asked for and are there; where all are asked for that `only` has. */
  get newest(): WrittenObject | undefined {
    return this.#newest;
  }

  /** The stored size of the object; `undefined` where the store says that it has none, or an empty one. */
  async sizeOf(ref: ObjectRef): Promise<number | undefined> {
    if (this.#options.expected === undefined) this.#asked++;
    const part = this.#parts[ref.id[0]! >> 4]!;
    while (this.#isWorthListing(part)) {
      part.listing ??= this.#listPage(part).finally(() => part.listing = undefined);
      await part.listing;
    }
    const name = chunkName(ref);
    if (part.isComplete || name <= part.until) {
      if (ref.lease === undefined) return this.#sizes.markOf(ref.id) || undefined;
      return this.#tell(name, this.#suffixed.get(name));
    }
    return this.#tell(name, await this.#project.head(name, { signal: this.#options.signal }));
  }

  #tell(name: string, info: ObjectInfo | undefined): number | undefined {
    if (info === undefined) return undefined;
    this.#newest = later(this.#newest, { name, modifiedMs: info.modifiedMs });
    return info.sizeBytes || undefined;
  }

  /** Ids are spread evenly: each part is asked about as often as any other, and as often again as until now. */
  #isWorthListing({ pages, pagesLikely, isComplete }: Part): boolean {
    const worth = Math.floor(this.#asked / PARTS);
    return !isComplete && pages < worth && pagesLikely <= worth && this.#sizes.size < MAX_IDS;
  }

  async #listPage(part: Part): Promise<void> {
    const after = part.until === "" ? undefined : this.#project.objectKey(part.until);
    let count = 0;
    for await (const info of this.#project.list(part.prefix, { after, signal: this.#options.signal })) {
      this.#add(info);
      part.until = info.name;
      if (++count === PAGE_KEYS) break;
    }
    part.pages++;
    part.isComplete = count < PAGE_KEYS;
    if (part.pages === 1) part.pagesLikely = Math.ceil(1 / shareBefore(part.until));
  }

  #add(info: ObjectInfo & { name: string }): void {
    const ref = parseChunkName(info.name);
    if (ref === undefined) return;
    if (ref.lease !== undefined) return void this.#suffixed.set(info.name, info);
    const { only } = this.#options;
    if (only !== undefined && !only.has(ref.id)) return;
    this.#sizes.add(ref.id);
    this.#sizes.mark(ref.id, info.sizeBytes);
    if (only !== undefined) this.#tell(info.name, info);
  }
}

/** Which share of the ids with the same first digit comes up to the one of that name. */
function shareBefore(name: string): number {
  const { id } = parseChunkName(name) ?? { id: new Uint8Array([0xff, 0xff]) };
  return (((id[0]! & 0x0f) << 8) + id[1]! + 1) / 0x1000;
}
