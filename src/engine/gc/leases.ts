/** The leases of a project, as a collector sees them: which are alive, which are dead. docs/gc.md. */
import { DamageError, describeError, MissingError, VarveError } from "../../errors.ts";
import { LEASES_PREFIX } from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import type { Context } from "../context.ts";
import { ALL_VOLUMES, decodeLease, LEASE_DEAD_MS, type LeaseContent, type Work } from "./lease.ts";
import type { Project } from "../project.ts";

export interface SeenLease extends Omit<LeaseContent, "work"> {
  /** In hex. */
  id: string;
  /** When it was written last, by the store's clock. */
  refreshedMs: number;
  /** Of a lease that cannot be read it is not known: it may be any, and need anything. */
  work: Work | "unknown";
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

/** The leases of work that may still be running. */
export async function livingLeases(project: Project, { signal }: Context): Promise<SeenLease[]> {
  const leases: SeenLease[] = [];
  for await (const { name, modifiedMs } of project.list(LEASES_PREFIX, { signal })) {
    const content = await readLease(project, name, signal);
    if (content === undefined || content.state === "ended") continue;
    leases.push({ ...content, id: name.slice(LEASES_PREFIX.length), refreshedMs: modifiedMs });
  }
  return leases;
}

/**
 * Removes the leases that were not refreshed for a day before `nowMs` of the store's clock, and those that have ended. A
 * dead lease counts as ended only once it is removed: its owner, should it wake up, must not find it.
 */
export async function buryLeases(project: Project, nowMs: number, context: Context): Promise<string[]> {
  const dead: string[] = [];
  for await (const { name, key, modifiedMs } of project.list(LEASES_PREFIX, { signal: context.signal })) {
    const isDead = nowMs - modifiedMs > LEASE_DEAD_MS ||
      (await readLease(project, name, context.signal))?.state === "ended";
    if (!isDead) continue;
    const [left] = await project.store.delete([key], { signal: context.signal });
    if (left === undefined) dead.push(name);
    else {
      context.log.warn(
        { key, reason: left.reason },
        "could not remove a dead lease; what waits for it goes on waiting",
      );
    }
  }
  return dead;
}

/** `undefined` where it ended meanwhile. */
async function readLease(
  project: Project,
  name: string,
  signal: AbortSignal,
): Promise<Omit<SeenLease, "id" | "refreshedMs"> | undefined> {
  try {
    const { content } = await project.read({ type: OBJECT_TYPE.lease, name }, { signal });
    return decodeLease(content, project.key(name));
  } catch (error) {
    if (error instanceof MissingError) return undefined;
    if (!isUnreadable(error)) throw error;
    return { ...UNKNOWN, problem: describeError(error) };
  }
}

/** Damaged, or sealed with a key that is not there or another secret's: no reading again will help. */
function isUnreadable(error: unknown): boolean {
  return error instanceof DamageError || (error instanceof VarveError && error.code === "wrong_secret");
}
