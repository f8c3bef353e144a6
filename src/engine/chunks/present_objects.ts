/**
 * Which chunks, patches and pages the store holds, by what it said itself in this run. Few are asked for one by one; of many,
 * the project's objects are listed, page after page of each shard, for as long as that takes fewer requests than questions.
 */
import { chunkName, chunkShardPrefix, type ObjectRef, parseChunkName } from "../../format/layout.ts";
import type { ObjectInfo } from "../../store/store.ts";
import { IdSet } from "../id_set.ts";
import type { Project } from "../project.ts";

/** First bytes of ids, each a folder of its own. */
const SHARDS = 256;
/** What S3 gives for one request to list. */
const PAGE_KEYS = 1000;
/** Ids held at once, 19 MiB of table; of what was not listed then the store is asked. */
const MAX_IDS = 390_000;

export interface PresentOptions {
  signal: AbortSignal;
  /** How many will be asked for, where that is known. */
  expected?: number | undefined;
  /** Only these are asked for; without it any may be. */
  only?: IdSet | undefined;
}

/** How far a shard was listed. */
interface Shard {
  prefix: string;
  pages: number;
  /** The last name that was told; all before it are known. */
  until: string;
  isComplete: boolean;
  listing: Promise<void> | undefined;
}

export class PresentObjects {
  readonly #project: Project;
  readonly #options: PresentOptions;
  readonly #shards: Shard[];
  /** Plain keys, each marked with its size. */
  readonly #sizes = new IdSet();
  /** Of keys with a suffix, by name: they are few. */
  readonly #suffixed = new Map<string, number>();
  #asked: number;

  constructor(project: Project, options: PresentOptions) {
    this.#project = project;
    this.#options = options;
    this.#asked = options.expected ?? 0;
    this.#shards = Array.from({ length: SHARDS }, (_, shard) => {
      const prefix = chunkShardPrefix(shard);
      return { prefix, pages: 0, until: "", isComplete: false, listing: undefined };
    });
  }

  /** The stored size of the object; `undefined` where the store says that it has none, or an empty one. */
  async sizeOf(ref: ObjectRef): Promise<number | undefined> {
    if (this.#options.expected === undefined) this.#asked++;
    const shard = this.#shards[ref.id[0]!]!;
    while (this.#isWorthListing(shard)) {
      shard.listing ??= this.#listPage(shard).finally(() => shard.listing = undefined);
      await shard.listing;
    }
    const name = chunkName(ref);
    if (shard.isComplete || name <= shard.until) {
      return (ref.lease === undefined ? this.#sizes.markOf(ref.id) : this.#suffixed.get(name)) || undefined;
    }
    const { store } = this.#project;
    const info = await store.head(this.#project.key(name), { signal: this.#options.signal });
    return info?.sizeBytes || undefined;
  }

  /** Ids are spread evenly: each shard is asked about as often as any other, and as often again as until now. */
  #isWorthListing({ pages, isComplete }: Shard): boolean {
    return !isComplete && pages < Math.floor(this.#asked / SHARDS) && this.#sizes.size < MAX_IDS;
  }

  async #listPage(shard: Shard): Promise<void> {
    const after = shard.until === "" ? undefined : this.#project.key(shard.until);
    let count = 0;
    for await (const info of this.#project.list(shard.prefix, { after, signal: this.#options.signal })) {
      this.#add(info);
      shard.until = info.name;
      if (++count === PAGE_KEYS) break;
    }
    shard.pages++;
    shard.isComplete = count < PAGE_KEYS;
  }

  #add({ name, sizeBytes }: ObjectInfo & { name: string }): void {
    const ref = parseChunkName(name);
    if (ref === undefined) return;
    if (ref.lease !== undefined) return void this.#suffixed.set(name, sizeBytes);
    const { only } = this.#options;
    if (only !== undefined && !only.has(ref.id)) return;
    this.#sizes.add(ref.id);
    this.#sizes.mark(ref.id, sizeBytes);
  }
}
