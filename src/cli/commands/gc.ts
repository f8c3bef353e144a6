/** `varve gc`: deletes what no restore point needs any more. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { GcReport } from "../../engine/gc/gc_report.ts";
import type { PlanWait, WaitingPlan } from "../../engine/gc/settle_plans.ts";
import { escapeLine, VarveError } from "../../errors.ts";
import { assertProjectName } from "../../format/names.ts";
import { withSession } from "../context.ts";
import { print, printJson, reportDone } from "../terminal/output.ts";
import { examples, type Invocation, type Root } from "../root.ts";
import { formatDuration, formatSize, parseDuration } from "../terminal/units.ts";

const EXAMPLES = examples(
  ["varve gc acme", "for every night: delete the garbage condemned a day ago, condemn the new garbage"],
  ["varve gc acme --grace 0", "delete all garbage at once, to free space now"],
  ["varve gc --dry-run", "show how much garbage all projects have"],
);
const HOUR_MS = 3600_000;
const DEFAULT_GRACE_MS = 24 * HOUR_MS;
/** A plan that is not swept in eight days never is. */
const MAX_GRACE_MS = 7 * 24 * HOUR_MS;
/** How many refused keys are shown; the JSON has all. */
const MAX_REFUSED = 5;

export function addGc(program: Root, invocation: Invocation): void {
  program.command("gc")
    .description(
      "Delete the data that no restore point needs any more. A versioned bucket keeps old versions until a lifecycle rule removes them.",
    )
    .argument("[project]", "default: all projects, one after the other")
    .option("--dry-run", "show what would be deleted, without writing anything")
    .option(
      "--grace <duration>",
      "let a later gc delete garbage after this time, e.g. 12h or 2d; 0 deletes it now (default: 24h)",
      readGrace,
    )
    .option("--force", "delete even if restore points are missing, or more than half of a project is garbage")
    .addHelpText("after", EXAMPLES)
    .action(async (project, _, command) => {
      const options = command.optsWithGlobals();
      if (project !== undefined) assertProjectName(project);
      await withSession(
        { options, invocation, interrupted: "the next gc deletes the rest" },
        async ({ store, secrets, context, closed }) => {
          const { openRepository } = await import("../../project/repository.ts");
          const { gc } = await import("../../engine/gc/gc.ts");
          const { listProjects } = await import("../../project/open_project.ts");
          const repository = await openRepository(store, context);
          const dryRun = options.dryRun === true;
          const request = {
            secrets,
            dryRun,
            graceMs: options.grace ?? DEFAULT_GRACE_MS,
            force: options.force === true,
          };
          const work = (name: string) => gc(repository, { project: name, ...request }, context);
          const reports = project === undefined
            ? await closed.each(listProjects(repository, context), work)
            : [await work(project)];
          const tell = () => {
            if (options.json) printJson(project === undefined ? reports : reports[0]);
            else if (!options.quiet) print(reports.map((report) => summary(report, dryRun)).join(""));
          };
          if (dryRun) tell();
          else reportDone(invocation.screen, tell);
          for (const { project: name, stopped } of reports) {
            if (stopped === null) continue;
            const error = new VarveError("failed", stopped);
            if (project !== undefined) throw error;
            closed.leaveOut(name, error);
          }
        },
      );
    });
}

/** `0`, or a duration of at most a week. */
function readGrace(text: string): number {
  const ms = text === "0" ? 0 : parseDuration(text);
  if (ms !== undefined && ms <= MAX_GRACE_MS) return ms;
  throw new InvalidArgumentError("Expected a duration of at most 7d, such as 12h or 2d, or 0.");
}

function summary(report: GcReport, dryRun: boolean): string {
  const { project, garbage, objects, refused, condemned, young } = report;
  const garbageOf = `${formatSize(report.garbage_bytes)} of ${formatSize(report.objects_bytes)}`;
  const lines = [
    garbage === 0
      ? `${project}: nothing ${report.deleted > 0 ? "more " : ""}to delete; ${
        formatSize(report.objects_bytes)
      } in use`
      : `${project}: ${garbage} of ${objects} objects (${garbageOf}) belong to no restore point` +
        (young > 0 ? `, ${young} of them are too young to be deleted` : ""),
  ];
  const before = garbage - young - condemned - (report.stopped === null ? 0 : garbage);
  if (before > 0) lines.push(`${project}: ${before} of them were condemned before`);
  if (young > 0) {
    lines.push(
      ...report.running.map((work) => `  what was written since ${running(work)} began is left alone`),
    );
  }
  if (!dryRun) {
    const refusals = refused.length > 0 ? `, ${refused.length} refused by the store` : "";
    lines.push(
      `${project}: ${report.deleted} deleted${refusals}, ${condemned} condemned, in ${
        formatDuration(report.duration_s)
      }`,
    );
  }
  if (report.unreadable_leases > 0) {
    lines.push(
      `${project}: ${report.unreadable_leases} leases cannot be read; what is condemned now waits until they are a day old`,
    );
  }
  lines.push(...report.plans_waiting.flatMap((plan) => waiting(project, plan)));
  for (const { key, reason } of refused.slice(0, MAX_REFUSED)) lines.push(`refused: "${key}": ${reason}`);
  return lines.join("\n") + "\n";
}

/** What was condemned and is not deleted yet, and by whom that is held up. */
function waiting(project: string, { made, sweep_after, waits }: WaitingPlan): string[] {
  const lines = made === null || sweep_after === null
    ? [`${project}: another gc is condemning objects now`]
    : [`${project}: what was condemned at ${made} is deleted by the first gc after ${sweep_after}`];
  for (const wait of waits) {
    const since = wait.since ?? "just now";
    lines.push(
      `  and once ${
        running(wait)
      }, which runs since ${since}, has ended; at ${wait.until} if it is not heard of`,
    );
  }
  return lines;
}

function running({ work, volume, host, pid }: PlanWait): string {
  return `the ${work} of ${escapeLine(volume)} on ${escapeLine(host)} (process ${pid})`;
}
