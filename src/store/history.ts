/**
 * What a store keeps beyond what `list` tells: old versions, delete markers, unfinished uploads. An erasure has to find
 * them; nothing else needs them. A capability of stores that have such things; `historyOf` gives the others a plain one.
 */
import type { RequestOptions, Store } from "./store.ts";

/** One thing that takes room below a key. */
export interface Trace {
  key: string;
  kind: "version" | "marker" | "upload";
  /** The version's or upload's own id; empty where the store has none. */
  id: string;
  /** Of a version or marker: it is what a reader of the key meets. */
  isLatest: boolean;
  sizeBytes: number;
}

export interface TracePage {
  /** In no order, but no later page has keys before these; those of one key may be on two pages. */
  traces: Trace[];
  /** To be given as `after` for the next page; `undefined` after the last. */
  next: string | undefined;
}

/** Why a trace is still there. */
export interface TraceFailure {
  trace: Trace;
  reason: string;
}

/** What holds a trace in place; neither where nothing does, or the store does not say. */
export interface Lock {
  /** End of its retention, milliseconds since 1970 by the store's clock. */
  untilMs: number | undefined;
  legalHold: boolean;
}

/** Fails as a `Store` does. */
export interface History {
  /** One page of everything whose key begins with `prefix`. */
  page(prefix: string, options: RequestOptions & { after?: string | undefined }): Promise<TracePage>;
  /** Removes these, at most a page of them, for good; one that is gone is a success. Resolves to those that remain. */
  remove(traces: readonly Trace[], options: RequestOptions): Promise<TraceFailure[]>;
  lockOf(trace: Trace, options: RequestOptions): Promise<Lock>;
}

/** Traces on one page. */
export const TRACES_MAX = 1000;

/** The store's own history, or what it lists where it keeps nothing else. */
export function historyOf(store: Store): History {
  return store.history ?? plainHistory(store);
}

function plainHistory(store: Store): History {
  return {
    async page(prefix, { after, signal }) {
      const traces: Trace[] = [];
      for await (const { key, sizeBytes } of store.list(prefix, { after, signal })) {
        traces.push({ key, kind: "version", id: "", isLatest: true, sizeBytes });
        if (traces.length === TRACES_MAX) return { traces, next: key };
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
export async function* tracePages(
  history: History,
  prefix: string,
  { signal }: RequestOptions,
): AsyncGenerator<TracePage> {
  let after: string | undefined;
  do {
    const page = await history.page(prefix, { after, signal });
    yield page;
    after = page.next;
  } while (after !== undefined);
}
