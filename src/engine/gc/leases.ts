/** The leases of a project, as a collector sees them: which are alive, which are dead. docs/gc.md. */
import { MissingError } from "../../errors.ts";
import { fromUtf8 } from "../../format/bytes.ts";
import { LEASES_PREFIX } from "../../format/layout.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import type { Context } from "../context.ts";
import { LEASE_DEAD_MS, type LeaseContent } from "./lease.ts";
import type { Project } from "../project.ts";

export interface SeenLease extends LeaseContent {
  /** In hex. */
  id: string;
  /** When it was written last, by the store's clock. */
  refreshedMs: number;
}

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
    else {context.log.warn(
        { key, reason: left.reason },
        "could not remove a dead lease; what waits for it goes on waiting",
      );}
  }
  return dead;
}

async function readLease(
  project: Project,
  name: string,
  signal: AbortSignal,
): Promise<LeaseContent | undefined> {
  try {
    const { content } = await project.read({ type: OBJECT_TYPE.lease, name }, { signal });
    return JSON.parse(fromUtf8(content) ?? "") as LeaseContent;
  } catch (error) {
    if (error instanceof MissingError) return undefined; // it ended meanwhile
    throw error;
  }
}
