/**
 * Erase: a project goes for good. Its keys first, for without them all the rest is unreadable, then its leases, by which
 * running work finds out, then everything, with all that the store keeps beyond what it lists. Needs no secret.
 */
import { eraseCaches } from "../../cache/erase_caches.ts";
import { VarveError } from "../../errors.ts";
import { eraseState } from "../../state/state_folder.ts";
import { KEYS_PREFIX, LEASES_PREFIX, projectPrefix } from "../../format/layout.ts";
import type { Context } from "../../context.ts";
import { LEASE_REFRESH_MS } from "../../project/sharing/lease.ts";
import { listKeyIds } from "../../project/key_object.ts";
import type { Repository } from "../../project/repository.ts";
import type { HeldPoint } from "./held_points.ts";
import { type LockedReport, surveyLocked } from "./locked.ts";
import { Purger } from "./purger.ts";
import type { EraseSurvey } from "./survey.ts";

/**
 * Work that runs looks at its lease this often, and stops when that is gone; a minute is for the request that is under
 * way then.
 */
export const NOTICE_MS = LEASE_REFRESH_MS + 60_000;
/** How often to wait for work that began since. */
const ROUNDS_MAX = 4;

/** What no erasure can reach. */
const NOT_COVERED = [
  "copies of the project in other repositories (varve copy); erase them separately",
  "caches and notes of other hosts in ~/.cache/varve and ~/.local/state/varve",
  "the images and their snapshots in Ceph",
  "backups, replicas and snapshots of the store itself",
];

export interface EraseOptions {
  /** What is there, as the operator was shown it. */
  survey: EraseSurvey;
  /** Holds that are passed over: all that the survey names. */
  overridden: readonly HeldPoint[];
  /** Who erases: `user@host`. */
  by: string;
  /** The version of this program. */
  varve: string;
  /** Told before it waits until running work has noticed. */
  onWait?: ((leases: number, waitMs: number) => void) | undefined;
  /** Told how many things are gone so far. */
  onProgress?: ((removed: number) => void) | undefined;
}

/** The JSON of `varve erase`: the evidence of what was erased. */
export interface EraseReport {
  project: string;
  repository: { url: string; id: string };
  /** ISO 8601, UTC, by the clock of this host. */
  started: string;
  finished: string;
  by: string;
  varve: string;
  /** What there was when it began: none of the keys where an earlier erasure had deleted them. */
  volumes: string[];
  points: number;
  keys: string[];
  holds_overridden: HeldPoint[];
  deleted: {
    /** Objects, each old version as one, and their bytes. */
    objects: number;
    bytes: number;
    delete_markers: number;
    unfinished_uploads: number;
  };
  /** Leases that were there: work that ran, or had died. */
  leases: number;
  /** What the store would not delete. */
  locked: LockedReport;
  /** What a last look found below the project's prefix, whatever kind of thing; 0 where the erasure is whole. */
  listed_after: number;
  /** What is beyond its reach. */
  not_covered: string[];
}

/**
 * Erases a project from the repository and from this host's caches. What a lock holds is hidden, counted and told. Throws
 * `conflict` where the project has a key that the survey does not know: it was made anew, and nothing of that goes. Throws
 * `StoreError`; run again, it goes on.
 */
export async function erase(
  repository: Repository,
  options: EraseOptions,
  context: Context,
): Promise<EraseReport> {
  const { survey: { project, volumes, points, keys }, overridden, by, varve, onProgress } = options;
  const started = new Date(context.clock.now()).toISOString();
  const prefix = projectPrefix(project);
  const beforeRemoval = () => assertNotMadeAnew(repository, options, context);
  const purger = new Purger(repository.store, { beforeRemoval, onProgress }, context);
  await purger.purge(prefix + KEYS_PREFIX);
  await eraseHere(repository, project, context);
  const leases = await purgeAll(purger, { ...options, prefix }, context);
  const locked = await surveyLocked(repository.store, { prefix, keysPrefix: prefix + KEYS_PREFIX }, context);
  if (locked.objects > 0) await beforeRemoval();
  await eraseHere(repository, project, context); // work that ran here may have gone on remembering
  const { objects, bytes, markers, uploads } = purger.removed;
  return {
    project,
    repository: { url: repository.store.url, id: repository.id },
    started,
    finished: new Date(context.clock.now()).toISOString(),
    by,
    varve,
    ...{ volumes, points, keys },
    holds_overridden: [...overridden],
    deleted: { objects, bytes, delete_markers: markers, unfinished_uploads: uploads },
    leases,
    locked,
    listed_after: locked.objects + locked.others,
    not_covered: NOT_COVERED,
  };
}

/** What this host keeps of the project. */
async function eraseHere(
  { id }: Repository,
  project: string,
  { cacheRoot, stateRoot: root }: Context,
): Promise<void> {
  await eraseCaches(cacheRoot, { repository: id, project });
  if (root !== undefined) await eraseState({ root, repositoryId: id, project });
}

/** Whoever makes a project writes its key before anything else. */
async function assertNotMadeAnew(
  repository: Repository,
  { survey: { project, keys } }: EraseOptions,
  context: Context,
): Promise<void> {
  const there = await listKeyIds(repository.store, project, context);
  if (there.every((id) => keys.includes(id))) return;
  throw new VarveError(
    "conflict",
    `Cannot erase the rest of "${project}": the project was created again while it was being erased; ` +
      `the new one is untouched, and the rest of the old one is unreadable`,
  );
}

/**
 * Whatever runs is waited for once its lease is gone, and what it wrote until it noticed goes too. The number of leases
 * that were there. Throws `conflict` where new work keeps beginning.
 */
async function purgeAll(
  purger: Purger,
  { survey: { project }, prefix, onWait }: EraseOptions & { prefix: string },
  { clock, signal }: Context,
): Promise<number> {
  let leases = 0;
  for (let round = 1; round <= ROUNDS_MAX; round++) {
    const ended = await purger.purgeVisible(prefix + LEASES_PREFIX);
    await purger.purge(prefix);
    leases += ended;
    if (ended === 0) return leases;
    onWait?.(ended, NOTICE_MS);
    await clock.sleep(NOTICE_MS, signal);
  }
  throw new VarveError(
    "conflict",
    `Cannot erase "${project}": jobs on it keep starting; stop them first`,
  );
}
