/**
 * Erase: a project goes for good. Its keys first, for without them all the rest is unreadable, then its leases, by which
 * running work finds out, then everything, with all that the store keeps beyond what it lists. Needs no secret.
 */
import { eraseCaches } from "../../cache/erase_caches.ts";
import { VarveError } from "../../errors.ts";
import { KEYS_PREFIX, LEASES_PREFIX, projectPrefix } from "../../format/layout.ts";
import { checkProjectName } from "../../format/names.ts";
import type { Context } from "../context.ts";
import { type HeldReport, surveyHeld } from "./erase_held.ts";
import { LEASE_REFRESH_MS } from "../gc/lease.ts";
import { Purger } from "./purger.ts";
import type { Repository } from "../repository.ts";

/**
 * Work that runs looks at its lease this often, and stops when that is gone; a minute is for the request that is under
 * way then.
 */
export const NOTICE_MS = LEASE_REFRESH_MS + 60_000;
/** How often to wait for work that began since. */
const ROUNDS_MAX = 4;

export interface EraseOptions {
  project: string;
  /** Told before it waits until running work has noticed. */
  onWait?: ((leases: number, waitMs: number) => void) | undefined;
  /** Told how many things are gone so far. */
  onProgress?: ((removed: number) => void) | undefined;
}

/** The JSON of `varve erase`. */
export interface EraseReport {
  project: string;
  /** Nothing is left below the project's prefix, whatever kind of thing. */
  empty: boolean;
  deleted: {
    /** Objects, each old version as one, and their bytes. */
    objects: number;
    bytes: number;
    delete_markers: number;
    unfinished_uploads: number;
    /** Of the objects: the project's keys. */
    keys: number;
  };
  /** Leases that were there: work that ran, or had died. */
  leases: number;
  /** What the store would not delete. */
  held: HeldReport;
  duration_s: number;
}

/**
 * Erases a project from the repository and from this host's caches. What a lock holds is hidden, counted and told.
 * Throws `StoreError`; run again, it goes on.
 */
export async function erase(
  repository: Repository,
  options: EraseOptions,
  context: Context,
): Promise<EraseReport> {
  checkProjectName(options.project);
  const startedMs = context.clock.now();
  const prefix = projectPrefix(options.project);
  const purger = new Purger(repository.store, context, options.onProgress);
  await purger.purge(prefix + KEYS_PREFIX);
  const keys = purger.removed.objects;
  const leases = await purgeAll(purger, { ...options, prefix }, context);
  const held = await surveyHeld(repository.store, { prefix, keysPrefix: prefix + KEYS_PREFIX }, context);
  await eraseCaches(context.cacheRoot, { repository: repository.id, project: options.project });
  const { objects, bytes, markers, uploads } = purger.removed;
  return {
    project: options.project,
    empty: held.objects === 0 && held.others === 0,
    deleted: { objects, bytes, delete_markers: markers, unfinished_uploads: uploads, keys },
    leases,
    held,
    duration_s: (context.clock.now() - startedMs) / 1000,
  };
}

/**
 * Whatever runs is waited for once its lease is gone, and what it wrote until it noticed goes too. The number of leases
 * that were there. Throws `conflict` where new work keeps beginning.
 */
async function purgeAll(
  purger: Purger,
  { project, prefix, onWait }: EraseOptions & { prefix: string },
  { clock, signal }: Context,
): Promise<number> {
  let leases = 0;
  for (let round = 1; round <= ROUNDS_MAX; round++) {
    const ended = await purger.purgeSeen(prefix + LEASES_PREFIX);
    await purger.purge(prefix);
    leases += ended;
    if (ended === 0) return leases;
    onWait?.(ended, NOTICE_MS);
    await clock.sleep(NOTICE_MS, signal);
  }
  throw new VarveError(
    "conflict",
    `Cannot erase "${project}": work on it keeps being started; stop that first`,
  );
}
