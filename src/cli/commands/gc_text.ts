/** What a gc did, or would do, in words. */
import type { GcReport } from "../../engine/gc/gc_report.ts";
import type { PlanWait, WaitingPlan } from "../../engine/gc/settle_plans.ts";
import { escapeLine } from "../../errors.ts";
import { counted } from "../../util/counted.ts";
import { formatTime } from "../../util/time.ts";
import { formatDuration, formatSize } from "../terminal/units.ts";

/** One line of how much there is, and one, indented, for each thing that was done, is to be done, or waits. */
export function gcLines(report: GcReport, dryRun: boolean): string[] {
  const { project, garbage, deleted } = report;
  const used = `${formatSize(report.objects_bytes - report.garbage_bytes)} in use`;
  const needless = garbage === 1 ? "1 object is" : `${garbage} objects are`;
  const state = garbage === 0
    ? `nothing ${deleted > 0 ? "more " : ""}to delete, ${used}`
    : `${needless} needed by no restore point (${formatSize(report.garbage_bytes)}), ${used}`;
  const took = dryRun ? "" : ` (${formatDuration(report.duration_s)})`;
  return [`${project}: ${state}${took}`, ...details(report, dryRun).map((line) => `  ${line}`)];
}

function details(report: GcReport, dryRun: boolean): string[] {
  const { garbage, young, condemned, deleted, spared, stopped, unreadable_leases: unreadable } = report;
  const before = garbage - young - condemned - (stopped === null ? 0 : garbage);
  const some = (count: number, text: string) => count > 0 ? [`${count} ${text}`] : [];
  return [
    ...some(deleted, "deleted"),
    ...some(spared, "kept, a restore point needs them again"),
    ...some(condemned, dryRun ? "would be condemned for deletion" : "condemned for deletion"),
    ...some(before, "condemned before"),
    ...some(young, "too new to be condemned"),
    ...young > 0 ? report.running.map((work) => `what was written since ${running(work)} began stays`) : [],
    ...unreadable > 0
      ? [`${counted(unreadable, "lease")} cannot be read: nothing is deleted until they are a day old`]
      : [],
    ...report.plans_waiting.flatMap(waiting),
  ];
}

/** When what was condemned is deleted, and what holds that up. */
function waiting({ made, sweep_after, waits }: WaitingPlan): string[] {
  const lines = made === null || sweep_after === null
    ? ["another gc is condemning objects now; they are deleted later"]
    : [`what was condemned at ${timeText(made)} is deleted by the first gc after ${timeText(sweep_after)}`];
  for (const wait of waits) {
    const since = wait.since === null ? "just now" : timeText(wait.since);
    lines.push(
      `  once ${running(wait)}, started ${since}, has ended; if that has died, at ${timeText(wait.until)}`,
    );
  }
  return lines;
}

function running({ work, volume, host, pid }: PlanWait): string {
  return `the ${work} of ${escapeLine(volume)} on ${escapeLine(host)} (process ${pid})`;
}

function timeText(iso: string): string {
  return formatTime(Date.parse(iso));
}
