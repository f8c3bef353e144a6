/** `varve gc`: deletes what no restore point needs any more. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { GcReport } from "../../engine/gc/gc_report.ts";
import type { GcProgress } from "../../engine/gc/gc.ts";
import { VarveError } from "../../errors.ts";
import { assertProjectName } from "../../format/names.ts";
import { type Session, withSession } from "../context.ts";
import { isForPeople, print, printJson, printRemark, printStatus, reportDone } from "../terminal/output.ts";
import { Progress, type ProgressState } from "../terminal/progress.ts";
import { counted } from "../../util/counted.ts";
import { gcLines } from "./gc_text.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "../root.ts";
import type { Screen } from "../terminal/screen.ts";
import { parseDuration } from "../../util/time.ts";

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
        (session) => run(project, { options, session, invocation }),
      );
    });
}

interface GcFlags extends GlobalOptions {
  dryRun?: true | undefined;
  grace?: number | undefined;
  force?: true | undefined;
}

async function run(
  project: string | undefined,
  { options, session, invocation }: { options: GcFlags; session: Session; invocation: Invocation },
): Promise<void> {
  const { store, secrets, context, closed } = session;
  const { openRepository } = await import("../../project/repository.ts");
  const { gc } = await import("../../engine/gc/gc.ts");
  const { listProjects } = await import("../../project/open_project.ts");
  const repository = await openRepository(store, context);
  const { screen } = invocation;
  const progress = new Progress(screen, { enabled: isForPeople(options) });
  const { dryRun = false, grace: graceMs = DEFAULT_GRACE_MS, force = false } = options;
  const onProgress = (state: GcProgress) => progress.update(progressState(state));
  const work = async (name: string) => {
    const request = { project: name, secrets, dryRun, graceMs, force, onProgress };
    const report = await gc(repository, request, context).finally(() => progress.end());
    printReport(report, { options, screen });
    return report;
  };
  const reports = project === undefined
    ? await closed.each(listProjects(repository, context), work)
    : [await work(project)];
  const answer = project === undefined ? reports : reports[0];
  if (options.json && dryRun) printJson(answer);
  else if (options.json) reportDone(screen, () => printJson(answer));
  for (const { project: name, stopped } of reports) {
    if (stopped === null) continue;
    const error = new VarveError("failed", stopped);
    if (project !== undefined) throw error;
    closed.leaveOut(name, error);
  }
}

/** What a dry run finds is its answer. */
function printReport(report: GcReport, { options, screen }: { options: GcFlags; screen: Screen }): void {
  const lines = gcLines(report, options.dryRun === true).map((line) => `${line}\n`).join("");
  if (options.dryRun !== true) printStatus(lines, { screen, options });
  else if (isForPeople(options)) print(lines);
  printRemark(refusedLines(report).join(""), { screen, options });
}

function progressState({ points, shards, ofShards, deleted }: GcProgress): ProgressState {
  const notes = deleted === 0 ? [] : [`${deleted} deleted`];
  if (shards === 0) return { done: points, total: undefined, unit: "point", notes };
  return { done: shards, total: ofShards, unit: "part", notes };
}

/** `0`, or a duration of at most a week. */
function readGrace(text: string): number {
  const ms = text === "0" ? 0 : parseDuration(text, "hdwy");
  if (ms !== undefined && ms <= MAX_GRACE_MS) return ms;
  throw new InvalidArgumentError("Expected a duration of at most 7d, such as 12h or 2d, or 0.");
}

/** What the store did not delete. */
function refusedLines({ refused }: GcReport): string[] {
  const more = refused.length - MAX_REFUSED;
  return [
    ...refused.slice(0, MAX_REFUSED).map(({ key, reason }) => `refused: "${key}": ${reason}\n`),
    ...more > 0 ? [`refused: and ${counted(more, "more object")}\n`] : [],
  ];
}
