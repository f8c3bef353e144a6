/** What a gc says of its work, and what of it looks like a mistake. */
import { counted } from "../../util/counted.ts";
import type { PlanWait, WaitingPlan } from "./settle_plans.ts";

/** How much of a project's objects may be condemned at once. */
const MAX_SHARE = 0.5;

/** The JSON of `varve gc`. */
export interface GcReport {
  project: string;
  /** Objects that are there, and those among them that no manifest refers to. */
  objects: number;
  objects_bytes: number;
  garbage: number;
  garbage_bytes: number;
  /** Of the garbage: too young to be condemned. */
  young: number;
  /** Work that runs: what was written since the oldest of it began is too young. */
  running: PlanWait[];
  /** Of the garbage: condemned by this run. */
  condemned: number;
  plans_swept: number;
  /** Plans that a later gc sweeps, and what they wait for. */
  plans_waiting: WaitingPlan[];
  deleted: number;
  /** Condemned by an earlier plan, and referred to again. */
  spared: number;
  refused: { key: string; reason: string }[];
  dead_leases: number;
  /** Leases that cannot be read. What runs under them is not known, so nothing is swept until they are a day old. */
  unreadable_leases: number;
  /** Why nothing was condemned, where the run saw what looks like a mistake. */
  stopped: string | null;
  duration_s: number;
}

export function emptyReport(project: string): GcReport {
  return {
    project,
    objects: 0,
    objects_bytes: 0,
    garbage: 0,
    garbage_bytes: 0,
    young: 0,
    running: [],
    condemned: 0,
    plans_swept: 0,
    plans_waiting: [],
    deleted: 0,
    spared: 0,
    refused: [],
    dead_leases: 0,
    unreadable_leases: 0,
    stopped: null,
    duration_s: 0,
  };
}

/** What of a plan looks like a mistake, or `null`. */
export function mistake(
  { project, objects }: GcReport,
  { planned, points }: { planned: number; points: number },
): string | null {
  if (planned === 0) return null;
  const cannot = `Cannot collect "${project}":`;
  const advice = "nothing was condemned; use --force if that is intended";
  if (points === 0) {
    return `${cannot} it has ${
      counted(objects, "object")
    } but no restore points, so they may have been lost; ${advice}`;
  }
  if (planned <= objects * MAX_SHARE) return null;
  return `${cannot} ${planned} of ${objects} objects, more than half, are not used by its ${
    counted(points, "restore point")
  }; ${advice}`;
}
