/** A store in memory that keeps old versions and delete markers as a versioned bucket does, and locks some of them. */
import type { ObjectVersions, StoredVersion, VersionPage } from "../../src/store/store.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import type { DeleteFailure } from "../../src/store/store.ts";

/** When every lock ends. */
export const LOCKED_UNTIL_MS = Date.UTC(2030, 0, 1);

export class VersionedStore extends MemoryStore {
  readonly history: ObjectVersions = {
    page: async (prefix, { after = "" }) => this.#page(prefix, after),
    remove: async (traces) => {
      const left = traces.filter(({ kind, key }) => kind === "version" && this.#isLocked(key));
      for (const trace of traces) if (!left.includes(trace)) await this.#remove(trace);
      return left.map((trace) => ({ trace, reason: "locked" }));
    },
    lockOf: async ({ key }) => ({
      untilMs: this.#isLocked(key) ? LOCKED_UNTIL_MS : undefined,
      legalHold: false,
    }),
  };
  /** Of each key, newest first; without a body it is a delete marker. */
  readonly #versions = new Map<string, { id: string; body: Uint8Array | undefined }[]>();
  readonly #isLocked: (key: string) => boolean;
  readonly #pageTraces: number;
  #count = 0;

  constructor({ isLocked = () => false, pageTraces = 3 }: {
    isLocked?: (key: string) => boolean;
    pageTraces?: number;
  } = {}) {
    super();
    this.#isLocked = isLocked;
    this.#pageTraces = pageTraces;
  }

  override async put(key: string, body: Uint8Array): Promise<void> {
    await super.put(key, body);
    this.#add(key, new Uint8Array(body));
  }

  override async delete(keys: readonly string[]): Promise<DeleteFailure[]> {
    for (const key of keys) this.#add(key, undefined);
    return await super.delete(keys);
  }

  #add(key: string, body: Uint8Array | undefined): void {
    const id = `v${String(++this.#count).padStart(6, "0")}`;
    this.#versions.set(key, [{ id, body }, ...this.#versions.get(key) ?? []]);
  }

  /** What is the newest then, is what everybody sees. */
  async #remove({ key, id }: StoredVersion): Promise<void> {
    const left = (this.#versions.get(key) ?? []).filter((version) => version.id !== id);
    this.#versions.set(key, left);
    const body = left[0]?.body;
    if (body === undefined) await super.delete([key]);
    else await super.put(key, body);
  }

  #page(prefix: string, after: string): VersionPage {
    const keys = [...this.#versions.keys()].filter((key) => key.startsWith(prefix)).sort();
    const rows = keys.flatMap((key) =>
      this.#versions.get(key)!.map(({ id, body }, index) => ({
        // Ids grow with time, and the newest comes first.
        cursor: `${key} ${999_999 - Number(id.slice(1))}`,
        trace: {
          ...{ key, id, isLatest: index === 0, sizeBytes: body?.length ?? 0 },
          kind: body === undefined ? "marker" as const : "version" as const,
        },
      }))
    ).filter(({ cursor }) => cursor > after);
    const page = rows.slice(0, this.#pageTraces);
    const next = rows.length > page.length ? page.at(-1)!.cursor : undefined;
    return { traces: page.map(({ trace }) => trace), next };
  }
}
