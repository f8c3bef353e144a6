/** `varve gc`: deletes what no restore point needs any more. */
import type { GcReport } from "../engine/gc/gc.ts";
import { checkProjectName } from "../format/names.ts";
import { withSession } from "./context.ts";
import { print, printJson } from "./output.ts";
import { examples, type Invocation, type Root } from "./root.ts";
import { formatDuration, formatSize } from "./units.ts";

const EXAMPLES = examples(
  ["varve gc acme", "after forgetting: backups and restores may go on meanwhile"],
  ["varve gc --dry-run", "what could be deleted, in all projects"],
);

export function addGc(program: Root, invocation: Invocation): void {
  program.command("gc")
    .description("Delete the chunks that no restore point needs any more.")
    .argument("[project]", "without it all projects, one after the other")
    .option("--dry-run", "only say how much it would be")
    .addHelpText("after", EXAMPLES)
    .action(async (project, _, command) => {
      const options = command.optsWithGlobals();
      if (project !== undefined) checkProjectName(project);
      await withSession(
        { options, invocation, interrupted: "what was not deleted yet is left to the next gc" },
        async ({ store, secret, context }) => {
          const { openRepository } = await import("../engine/repository.ts");
          const { gc } = await import("../engine/gc/gc.ts");
          const { listProjects } = await import("../engine/project.ts");
          const repository = await openRepository(store, context);
          const names = project === undefined ? listProjects(repository, context) : [project];
          const reports: GcReport[] = [];
          for await (const name of names) {
            const request = { project: name, secret, dryRun: options.dryRun === true };
            reports.push(await gc(repository, request, context));
          }
          if (options.json) printJson(project === undefined ? reports : reports[0]);
          else if (!options.quiet) {
            for (const report of reports) print(summary(report, options.dryRun === true));
          }
        },
      );
    });
}

function summary(report: GcReport, dryRun: boolean): string {
  const { project, garbage, garbage_bytes, objects, objects_bytes, refused } = report;
  const lines = [
    `${project}: ${garbage} of ${objects} objects (${formatSize(garbage_bytes)} of ${
      formatSize(objects_bytes)
    }) belong to ` +
    `no restore point${report.young > 0 ? `, ${report.young} of them may belong to running work` : ""}`,
  ];
  if (!dryRun) {
    lines.push(
      `${project}: ${report.deleted} deleted, ${refused.length} refused by the store, ${report.plans_waiting} plans ` +
        `wait for running work, in ${formatDuration(report.duration_s)}`,
    );
  }
  if (report.unreadable_leases > 0) {
    lines.push(
      `${project}: ${report.unreadable_leases} leases cannot be read; nothing is deleted until they are a day old`,
    );
  }
  for (const { key, reason } of refused.slice(0, MAX_REFUSED)) lines.push(`refused: "${key}": ${reason}`);
  return lines.join("\n") + "\n";
}

/** How many refused keys are shown; the JSON has all. */
const MAX_REFUSED = 5;
