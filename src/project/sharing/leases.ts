/** The leases of a project, as whoever waits for running work sees them. docs/gc.md. */
import { describeError, isUnreadable, MissingError, VarveError } from "../../errors.ts";
import { LEASES_PREFIX } from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import type { Context } from "../../context.ts";
import {
  ALL_VOLUMES,
  decodeLease,
  type Lease,
  LEASE_DEAD_MS,
  type LeaseContent,
  type LeaseKind,
} from "./lease.ts";
import type { Project } from "../project.ts";
import { mapOrdered } from "../../util/task_limiter.ts";

/** Leases read at once. */
const READS_AT_ONCE = 16;
/** Dead leases removed by one request. */
const REMOVED_AT_ONCE = 1000;

export interface SeenLease extends Omit<LeaseContent, "work"> {
  /** In hex. */
  id: string;
  /** When it was written last, by the store's clock. */
  refreshedMs: number;
  /** Of a lease that cannot be read it is not known: it may be any, and need anything. */
  work: LeaseKind | "unknown";
  /** Why it cannot be read. */
  problem?: string;
}

/** What is taken of a lease that cannot be read. */
const UNKNOWN = {
  state: "running",
  work: "unknown",
  volume: ALL_VOLUMES,
  host: "?",
  pid: 0,
  started_ms: null,
} as const;

/**
 * The leases of work that may still be running: all that one of two listings told. Those that are dead by `nowMs` of the
 * store's clock are among them until they are buried.
 */
export async function livingLeases(project: Project, context: Context): Promise<SeenLease[]> {
  return await readLeases(project, await listLeases(project, context), context);
}

/** A survey of the leases, and what can be said of them at `nowMs` of the store's clock. */
export interface LeaseSurvey {
  living: SeenLease[];
  /** Names of the leases that ended, or were not refreshed for a day. */
  dead: string[];
}

/** The leases that are dead are not read: there may be many thousands. */
export async function surveyLeases(
  project: Project,
  nowMs: number,
  context: Context,
): Promise<LeaseSurvey> {
  const listed = await listLeases(project, context);
  const isFresh = ([, refreshedMs]: [string, number]) => nowMs - refreshedMs <= LEASE_DEAD_MS;
  const fresh = new Map([...listed].filter(isFresh));
  const living = await readLeases(project, fresh, context);
  const alive = new Set(living.map(({ id }) => LEASES_PREFIX + id));
  return { living, dead: [...listed.keys()].filter((name) => !alive.has(name)) };
}

/**
 * Removes dead leases, by the collector's own. A dead lease counts as ended only once it is removed: its owner, should it
 * wake up, must not find it. How many are gone; those that stay are among the living from now on.
 */
export async function buryLeases(
  project: Project,
  { survey, lease }: { survey: LeaseSurvey; lease: Lease },
  context: Context,
): Promise<number> {
  if (survey.dead.length === 0) return 0;
  for (let at = 0; at < survey.dead.length; at += REMOVED_AT_ONCE) {
    const names = survey.dead.slice(at, at + REMOVED_AT_ONCE);
    const left = await lease.send((options) => project.delete(names, options));
    for (const { key, reason } of left) {
      context.log.warn(
        { key, reason },
        "could not remove an expired lease; jobs waiting for it stay blocked",
      );
    }
  }
  // The store may only have said that they are gone.
  const there = await listLeases(project, context);
  const left = survey.dead.filter((name) => there.has(name));
  for (const name of left) {
    survey.living.push({ ...UNKNOWN, id: name.slice(LEASES_PREFIX.length), refreshedMs: there.get(name)! });
  }
  return survey.dead.length - left.length;
}

/** A collector deletes and never refers to anything. */
export function mayReferToChunks({ work }: SeenLease): boolean {
  return work !== "gc";
}

/** Since when work runs that may refer to chunks, by the store's clock; `Infinity` where none does. */
export function oldestStart(living: readonly SeenLease[]): number {
  const working = living.filter(mayReferToChunks);
  return Math.min(...working.map(({ started_ms, refreshedMs }) => started_ms ?? refreshedMs));
}

/**
 * Listed twice, for one listing may be short: a lease is there if either told it, and as fresh as the later one said.
 * By name, with when each was written last by the store's clock. What is no lease by its name is passed over.
 */
async function listLeases(project: Project, { signal }: Context): Promise<Map<string, number>> {
  const leases = new Map<string, number>();
  for (let look = 0; look < 2; look++) {
    for await (const { name, modifiedMs } of project.list(LEASES_PREFIX, { signal })) {
      if (!/^leases\/[0-9a-f]{32}$/.test(name)) continue;
      leases.set(name, Math.max(modifiedMs, leases.get(name) ?? 0));
    }
  }
  return leases;
}

async function readLeases(
  project: Project,
  listed: ReadonlyMap<string, number>,
  { signal }: Context,
): Promise<SeenLease[]> {
  const read = async ([name, refreshedMs]: [string, number]): Promise<SeenLease | undefined> => {
    const content = await readLease(project, name, signal);
    if (content === undefined || content.state === "ended") return undefined;
    return { ...content, id: name.slice(LEASES_PREFIX.length), refreshedMs };
  };
  const leases = mapOrdered(listed, read, { limit: READS_AT_ONCE });
  return (await Array.fromAsync(leases)).filter((lease) => lease !== undefined);
}

/** `undefined` where it ended meanwhile: two answers say so. */
async function readLease(
  project: Project,
  name: string,
  signal: AbortSignal,
): Promise<Omit<SeenLease, "id" | "refreshedMs"> | undefined> {
  try {
    const { content } = await project.read({ type: OBJECT_TYPE.lease, name }, { signal });
    return decodeLease(content, project.objectKey(name));
  } catch (error) {
    if (!cannotBeRead(error)) throw error;
    const isGone = error instanceof MissingError &&
      await project.head(name, { signal }) === undefined;
    return isGone ? undefined : { ...UNKNOWN, problem: describeError(error) };
  }
}

/** Damaged, withheld, or sealed with a key that is not there or another secret's: no reading again will help. */
function cannotBeRead(error: unknown): boolean {
  return isUnreadable(error) || (error instanceof VarveError && error.code === "wrong_secret");
}
