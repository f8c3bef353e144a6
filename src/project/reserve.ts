/**
 * The reserve: some room in the repository that is given up when the store is full, so that what frees room has room to
 * begin with: a lease and a plan need some. `varve init` makes it, gc makes it again. docs/format.md, "The reserve".
 */
import { describeError, StoreError } from "../errors.ts";
import { RESERVE_KEY } from "../format/layout.ts";
import { KIB, MIB } from "../format/limits.ts";
import type { RequestOptions, Store } from "../store/store.ts";
import type { Context } from "../context.ts";
import { randomBytes } from "../util/random.ts";

const RESERVE_BYTES = 4 * MIB;
/** Less than this is of no help. */
const LEAST_BYTES = 64 * KIB;

/** A store that gives up the reserve when it is full, and then tries once more. */
export function spendingReserve(store: Store, { log }: Context): Store {
  return {
    url: store.url,
    history: store.history,
    get: (key, options) => store.get(key, options),
    async put(key: string, body: Uint8Array, options?: RequestOptions) {
      try {
        await store.put(key, body, options);
      } catch (error) {
        if (!(error instanceof StoreError) || !error.isFull) throw error;
        const left = await store.delete([RESERVE_KEY], { signal: options?.signal });
        log.info(
          { reason: describeError(error), left: left.length },
          "the store is full: deleting the reserve",
        );
        await store.put(key, body, options);
      }
    },
    head: (key, options) => store.head(key, options),
    list: (prefix, options) => store.list(prefix, options),
    folders: (prefix, options) => store.folders(prefix, options),
    delete: (keys, options) => store.delete(keys, options),
    close: () => store.close(),
  };
}

/** Makes the reserve where it is not there, as large as there is room. Never fails: it is for another day. */
export async function refillReserve(store: Store, { signal, log }: Context): Promise<void> {
  try {
    if (await store.head(RESERVE_KEY, { signal }) !== undefined) return;
    for (let bytes = RESERVE_BYTES; bytes >= LEAST_BYTES; bytes /= 2) {
      // Random: a file system that compresses would keep no room for zeros.
      if (await putUnlessFull(store, randomBytes(bytes), signal)) return;
    }
  } catch (error) {
    log.debug({ reason: describeError(error) }, "could not create the reserve");
  }
}

async function putUnlessFull(store: Store, body: Uint8Array, signal: AbortSignal): Promise<boolean> {
  try {
    await store.put(RESERVE_KEY, body, { signal });
    return true;
  } catch (error) {
    if (error instanceof StoreError && error.isFull) return false;
    throw error;
  }
}
