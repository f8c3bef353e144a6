/** Points that a gc misses: those that an earlier one saw, which are gone though no forget took them. docs/gc.md. */
import { counted } from "../../util/counted.ts";
import { VarveError } from "../../errors.ts";
import { forgottenName, LEASES_PREFIX, parseManifestName } from "../../format/layout.ts";
import type { Context } from "../../context.ts";
import type { Project } from "../project.ts";
import { type ForgottenRecord, readForgotten } from "../forgotten.ts";
import { type Lease, LEASE_DEAD_MS } from "./lease.ts";
import { type LeaseSurvey, oldestStart } from "./leases.ts";
import { type FullHead, listPlans, type StoredPlan } from "./plans.ts";

/** A record is written before its points go: work that begins in between still meets them. No forget takes so long. */
const LONGEST_FORGET_MS = LEASE_DEAD_MS;
/** Points that an error names. */
const NAMED_MAX = 5;

/** The head of the newest plan: nothing is missing that it does not name. */
export function newestHead(plans: readonly StoredPlan[], nowMs: number): FullHead | undefined {
  const heads = plans.map(({ head }) => head).filter((head) => typeof head === "object");
  return heads.filter(({ made_ms }) => made_ms <= nowMs)
    .reduce<FullHead | undefined>((a, b) => a === undefined || b.made_ms > a.made_ms ? b : a, undefined);
}

/** Names of the manifests that the head has and nobody forgot, beyond those that are there. */
export async function lostPoints(
  project: Project,
  { points, head }: { points: ReadonlySet<string>; head: FullHead | undefined },
  context: Context,
): Promise<string[]> {
  const gone = (head?.points ?? []).filter((name) => !points.has(name));
  if (gone.length === 0) return [];
  const forgotten = await readForgotten(project, context);
  const lost = gone.filter((name) => !forgotten.has(name));
  if (lost.length === 0) return [];
  // Another gc may have looked since, and dropped the records that nobody needed any more after that.
  const newest = newestHead(await listPlans(project, context), Infinity);
  return newest === undefined ? lost : lost.filter((name) => newest.points.includes(name));
}

/** Throws `damage` where points are missing, by the names of the manifests that are there. */
export async function assertPoints(
  project: Project,
  { points, head }: { points: ReadonlySet<string>; head: FullHead | undefined },
  context: Context,
): Promise<void> {
  const lost = await lostPoints(project, { points, head }, context);
  if (lost.length === 0) return;
  const named = lost.slice(0, NAMED_MAX).map((name) => {
    const { volume, backup } = parseManifestName(name)!;
    return `"${project.name}/${volume}@${backup}"`;
  });
  const more = lost.length > NAMED_MAX ? ` and ${lost.length - NAMED_MAX} more` : "";
  const when = new Date(head!.made_ms).toISOString();
  throw new VarveError(
    "damage",
    `Cannot collect "${project.name}": ${
      counted(lost.length, "restore point")
    } seen at ${when} cannot be found, but no forget ` +
      `deleted them: ${
        named.join(", ")
      }${more}; nothing was deleted; restore them with "varve repair ${project.name} ` +
      `--from-repo URL", or use --force to give them up`,
  );
}

/**
 * Removes the records that excuse nothing any more: of points that no plan remembers, or that are there after all, since
 * the forget died before it took them. Work that began before a record was written may still ask for it.
 */
export async function dropRecords(
  project: Project,
  { records, points, survey: { living, dead }, nowMs, lease }: {
    records: readonly ForgottenRecord[];
    points: ReadonlySet<string>;
    /** Read after the records: who has written one of them is still among these, or is done. */
    survey: LeaseSurvey;
    nowMs: number;
    lease: Lease;
  },
  context: Context,
): Promise<void> {
  if (records.length === 0) return;
  const plans = await listPlans(project, context);
  if (plans.some(({ head }) => head === "unreadable")) return; // it may remember any point
  const remembered = new Set(plans.flatMap(({ head }) => typeof head === "object" ? head.points : []));
  const leases = [...living.map(({ id }) => id), ...dead.map((name) => name.slice(LEASES_PREFIX.length))];
  const running = new Set(leases.map(forgottenName));
  // What was forgotten since this run began may have been seen by it all the same.
  const oldestMs = Math.min(nowMs, oldestStart(living)) - LONGEST_FORGET_MS;
  const isNeeded = (name: string) => remembered.has(name) && !points.has(name);
  const over = records.filter(({ name, names, writtenMs }) =>
    writtenMs < oldestMs && !running.has(name) && !names.some(isNeeded)
  );
  const names = over.map(({ name }) => name);
  if (names.length > 0) await lease.send((options) => project.delete(names, options));
}
