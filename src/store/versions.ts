/**
 * What a store keeps beyond what `list` tells: old versions, delete markers, unfinished uploads. An erasure has to find
 * them; nothing else needs them. A capability of stores that have such things; `versionsOf` gives the others a plain one.
 */
import type { ObjectVersions, RequestOptions, Store, StoredVersion, VersionPage } from "./store.ts";

/** Traces on one page. */
const VERSIONS_MAX = 1000;

/** The store's own history, or what it lists where it keeps nothing else. */
export function versionsOf(store: Store): ObjectVersions {
  return store.history ?? listedVersions(store);
}

function listedVersions(store: Store): ObjectVersions {
  return {
    async page(prefix, { after, signal }) {
      const traces: StoredVersion[] = [];
      for await (const { key, sizeBytes } of store.list(prefix, { after, signal })) {
        traces.push({ key, kind: "version", id: "", isLatest: true, sizeBytes });
        if (traces.length === VERSIONS_MAX) return { traces, next: key };
      }
      return { traces, next: undefined };
    },
    async remove(traces, options) {
      const byKey = new Map(traces.map((trace) => [trace.key, trace]));
      const left = await store.delete([...byKey.keys()], options);
      return left.map(({ key, reason }) => ({ trace: byKey.get(key)!, reason }));
    },
    lockOf: () => Promise.resolve({ untilMs: undefined, legalHold: false }),
  };
}

/** Everything whose key begins with `prefix`, page after page. */
export async function* versionPages(
  history: ObjectVersions,
  prefix: string,
  { signal }: RequestOptions,
): AsyncGenerator<VersionPage> {
  let after: string | undefined;
  do {
    const page = await history.page(prefix, { after, signal });
    yield page;
    after = page.next;
  } while (after !== undefined);
}
