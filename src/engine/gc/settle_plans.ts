/**
 * What becomes of the plans that are there: those that are over are removed, those that will never be swept are ended, and
 * the rest is ready, or waits. docs/gc.md.
 */
import { planEndName, planHeadName } from "../../format/layout.ts";
import type { Context } from "../../context.ts";
import type { Lease } from "../../project/sharing/lease.ts";
import { LEASE_DEAD_MS } from "../../project/sharing/lease.ts";
import type { SeenLease } from "../../project/sharing/leases.ts";
import { type FullHead, removePlan, type StoredPlan, writeEnd } from "../../project/sharing/plans.ts";
import type { Project } from "../../project/project.ts";

/**
 * For so long after its collector began a plan may be swept, and for so long after its end it goes on condemning: a
 * deletion that arrives later than that is not reckoned with.
 */
const PLAN_LIFE_MS = 8 * 24 * 3600_000;
/** A time that is so much later than the store's clock was written by another clock. */
const CLOCK_SLACK_MS = 24 * 3600_000;

export interface ReadyPlan extends StoredPlan {
  head: FullHead;
}

/** Why a plan is not swept yet. */
export interface WaitingPlan {
  plan: string;
  /** When its collector began, by the store's clock; `null` where that is still at work. */
  made: string | null;
  /** Not before this time. */
  sweep_after: string | null;
  /** Nor while these run. */
  waits: PlanWait[];
}

/** Work that a plan waits for. */
export interface PlanWait {
  lease: string;
  work: string;
  volume: string;
  host: string;
  pid: number;
  since: string | null;
  /** It is taken for dead then, should it not be heard of any more. */
  until: string;
}

interface Settled {
  ready: ReadyPlan[];
  waiting: WaitingPlan[];
}

interface Times {
  living: readonly SeenLease[];
  nowMs: number;
  graceMs: number;
}

/** Sorts the plans, and where there is a lease, removes and ends what is due. */
export async function settlePlans(
  project: Project,
  { plans, lease, ...times }: Times & { plans: readonly StoredPlan[]; lease: Lease | undefined },
  context: Context,
): Promise<Settled> {
  const settled: Settled = { ready: [], waiting: [] };
  for (const plan of plans) {
    const state = stateOf(plan, times);
    if (lease !== undefined && state === "over" && await isOver(project, plan, context)) {
      await removePlan(project, { plan, lease });
      continue;
    }
    if (lease !== undefined && state === "never") await writeEnd(project, { lease, plan: plan.id });
    if (state === "ready") settled.ready.push(plan as ReadyPlan);
    // One without shards only remembers the points.
    if (state === "waits" && plan.shards.length > 0) settled.waiting.push(waitingPlan(plan, times));
  }
  return settled;
}

function stateOf(
  { id, head, endedMs }: StoredPlan,
  { living, nowMs, graceMs }: Times,
): "over" | "ended" | "never" | "ready" | "waits" {
  const isFuture = (ms: number) => ms > nowMs + CLOCK_SLACK_MS;
  if (endedMs !== undefined) {
    if (isFuture(endedMs)) return "never"; // its end is written again, with the right time
    return nowMs - endedMs > PLAN_LIFE_MS ? "over" : "ended";
  }
  if (head === "absent") return living.some((lease) => lease.id === id) ? "waits" : "over";
  if (head === "unreadable" || isFuture(head.made_ms) || nowMs - head.made_ms > PLAN_LIFE_MS) return "never";
  const isDue = nowMs - Math.max(head.made_ms, head.writtenMs) >= graceMs;
  return isDue && !living.some((lease) => head.waits.includes(lease.id)) ? "ready" : "waits";
}

/** One that seems to have neither head nor end is asked about: with either it may have been swept. */
async function isOver(project: Project, { id, endedMs }: StoredPlan, context: Context): Promise<boolean> {
  if (endedMs !== undefined) return true;
  const names = [planHeadName(id), planEndName(id)];
  const found = await Promise.all(names.map((name) => project.head(name, context)));
  return found.every((info) => info === undefined);
}

/** What the plan waits for, of the leases that live. */
export function waitingPlan(
  { id, head }: StoredPlan,
  { living, graceMs }: Pick<Times, "living" | "graceMs">,
): WaitingPlan {
  const isWaitedFor = (lease: SeenLease) => typeof head === "object" && head.waits.includes(lease.id);
  const sweepAfterMs = typeof head === "object"
    ? Math.max(head.made_ms, head.writtenMs) + graceMs
    : undefined;
  return {
    plan: id,
    made: typeof head === "object" ? isoTime(head.made_ms) : null,
    sweep_after: sweepAfterMs === undefined ? null : isoTime(sweepAfterMs),
    waits: living.filter((lease) => typeof head === "object" ? isWaitedFor(lease) : lease.id === id).map(
      waitOf,
    ),
  };
}

/** What is told of a lease that something waits for. */
export function waitOf({ id, work, volume, host, pid, started_ms, refreshedMs }: SeenLease): PlanWait {
  const since = started_ms === null ? null : isoTime(started_ms);
  return { lease: id, work, volume, host, pid, since, until: isoTime(refreshedMs + LEASE_DEAD_MS) };
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
