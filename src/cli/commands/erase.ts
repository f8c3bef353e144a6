/** `varve erase`: a project goes for good, its keys first. */
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { counted } from "../../util/counted.ts";
import type { EraseReport } from "../../engine/erase/erase.ts";
import type { HeldPoint } from "../../engine/erase/held_points.ts";
import type { EraseSurvey } from "../../engine/erase/survey.ts";
import type { Repository } from "../../project/repository.ts";
import { InterruptedError, UsageError, VarveError } from "../../errors.ts";
import { assertProjectName, quote } from "../../format/names.ts";
import { userName } from "../../os/user.ts";
import { type Session, withSession } from "../context.ts";
import { print, printJson } from "../terminal/output.ts";
import { examples, type GlobalOptions, type Invocation, type Root, VERSION } from "../root.ts";
import { formatDuration, formatSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  ["varve erase acme", "show what would be erased and ask for confirmation; needs no passphrase"],
  ["varve erase acme --yes-erase acme --json", "erase without asking; the report is the evidence"],
);

/** Names in one line. */
const NAMES_MAX = 20;

interface EraseOptions extends GlobalOptions {
  yesErase?: string | undefined;
  evenHeld?: true | undefined;
}

export function addErase(program: Root, invocation: Invocation): void {
  program.command("erase")
    .description("Erase a project permanently: its keys, then all its data, including old versions.")
    .argument("<project>")
    .option("--yes-erase <name>", "confirm with the project's name instead of being asked")
    .option("--even-held", "erase the project even if restore points are held (see varve hold)")
    .addHelpText("after", EXAMPLES)
    .action(async (project, _, command) => {
      const options: EraseOptions = command.optsWithGlobals();
      assertProjectName(project);
      assertAnswer(project, { options, invocation });
      await withSession(
        {
          options,
          invocation,
          interrupted: `"${project}" is only partly erased; run it again`,
          needsNoSecret: true,
        },
        (session) => run(project, { options, session, invocation }),
      );
    });
}

/** Throws `UsageError` where the name was repeated wrongly, or nobody can be asked for it. */
function assertAnswer(project: string, { options, invocation }: Omit<Run, "session">): void {
  if (options.yesErase !== undefined) return assertRepeated(project, options.yesErase);
  if (process.stdin.isTTY === true && invocation.screen.isTerminal) return;
  throw new UsageError(
    `Cannot erase "${project}": there is no terminal to confirm on; pass --yes-erase ${project}`,
  );
}

function assertRepeated(project: string, again: string): void {
  if (again !== project) {
    throw new UsageError(`Cannot erase "${project}": the name given to confirm is another one`);
  }
}

interface Run {
  options: EraseOptions;
  session: Session;
  invocation: Invocation;
}

async function run(project: string, { options, session, invocation }: Run): Promise<void> {
  const { context } = session;
  const { screen } = invocation;
  const { openRepository } = await import("../../project/repository.ts");
  const { erase } = await import("../../engine/erase/erase.ts");
  const repository = await openRepository(session.store, context);
  const { survey, held } = await prepare(repository, project, { options, session, invocation });
  const isShown = screen.isTerminal && !options.json && !options.quiet;
  const report = await erase(repository, {
    survey,
    overridden: held,
    ...{ by: `${userName()}@${hostname()}`, varve: VERSION },
    onProgress: (removed) => isShown && screen.show(`${project}: ${removed} deleted`),
    onWait: (leases, waitMs) => options.quiet || screen.write(waitLine(project, leases, waitMs)),
  }, context);
  screen.erase();
  if (options.json) printJson(report);
  else if (!options.quiet) print(summary(report));
  if (report.listed_after === 0) return;
  throw new VarveError("failed", `Cannot erase all of "${project}": ${leftText(report)}`);
}

/** All that comes before the first deletion. */
async function prepare(
  repository: Repository,
  project: string,
  { options, session, invocation }: Run,
): Promise<{ survey: EraseSurvey; held: HeldPoint[] }> {
  const { context, secrets } = session;
  const { surveyProject } = await import("../../engine/erase/survey.ts");
  const { heldPoints } = await import("../../engine/erase/held_points.ts");
  try {
    const survey = await surveyProject(repository, project, context);
    await assertThereIsSomething(repository, survey, session);
    const held = await heldPoints(repository, { ...survey, secrets }, context);
    if (options.yesErase === undefined) invocation.screen.write(surveyText(repository, { survey, held }));
    assertNotHeld(project, held, options);
    if (options.yesErase === undefined) assertRepeated(project, await ask(invocation));
    return { survey, held };
  } catch (error) {
    if (!invocation.signal.aborted) throw error;
    throw new InterruptedError("Interrupted: nothing was erased");
  }
}

/** The report would be the proof of nothing. */
async function assertThereIsSomething(
  repository: Repository,
  { project, objects, others }: EraseSurvey,
  { context }: Session,
): Promise<void> {
  if (objects + others > 0) return;
  const { noProject } = await import("../../project/open_project.ts");
  throw await noProject(repository, `Cannot erase "${project}": there is no such project`, context);
}

function assertNotHeld(project: string, held: readonly HeldPoint[], { evenHeld }: EraseOptions): void {
  if (held.length === 0 || evenHeld === true) return;
  const [{ point }, ...more] = held as [HeldPoint, ...HeldPoint[]];
  const which = more.length === 0 ? `"${point}" is held` : `"${point}" and ${more.length} more are held`;
  throw new VarveError(
    "failed",
    `Cannot erase "${project}": ${which}; release them with varve release, or use --even-held`,
  );
}

function surveyText(
  { store }: Repository,
  { survey, held }: { survey: EraseSurvey; held: readonly HeldPoint[] },
): string {
  const { project, volumes, points, objects, bytes, newest, keys } = survey;
  const lines = [
    `${project} in "${store.url}": ${counted(volumes.length, "volume")}, ${counted(points, "point")}, ` +
    `${counted(objects, "object")} (${formatSize(bytes)})${
      newest === null ? "" : `, the newest of ${newest}`
    }`,
    ...(volumes.length === 0 ? [] : [`volumes: ${some(volumes)}`]),
    ...(keys.length > 0 ? [] : ["its keys are gone already: an erasure was interrupted"]),
    ...held.map(heldLine),
    "All of it will be gone for good.",
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function heldLine({ point, reason }: HeldPoint): string {
  return `HELD: ${point}${reason === null ? "" : `: ${quote(reason)}`}`;
}

function some(names: readonly string[]): string {
  const more = names.length - NAMES_MAX;
  return names.slice(0, NAMES_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

async function ask({ screen, signal }: Invocation): Promise<string> {
  const lines = createInterface({ input: process.stdin, terminal: false, signal });
  screen.write("Type the project name to confirm: ");
  try {
    for await (const line of lines) return line;
    signal.throwIfAborted();
    return "";
  } finally {
    lines.close();
  }
}

function waitLine(project: string, leases: number, waitMs: number): string {
  return `"${project}" has ${counted(leases, "lease")} of other jobs: waiting ${
    formatDuration(waitMs / 1000)
  } ` +
    `until they notice\n`;
}

function summary(report: EraseReport): string {
  const { project, repository, deleted, volumes, points, keys, holds_overridden: held } = report;
  const { objects, bytes, delete_markers, unfinished_uploads } = deleted;
  const lines = [
    `${project} in "${repository.url}" (${repository.id})`,
    `erased by ${report.by} with varve ${report.varve}, ${report.started} to ${report.finished}`,
    `${counted(volumes.length, "volume")}${volumes.length === 0 ? "" : `: ${some(volumes)}`}`,
    `${counted(points, "point")}, ${
      held.length === 0 ? "none of them held" : `${held.length} of them held:`
    }`,
    ...held.map(heldLine),
    `keys: ${keys.length === 0 ? "none, they were gone before" : some(keys)}`,
    `deleted: ${counted(objects, "object")} (${formatSize(bytes)}), ${
      counted(delete_markers, "delete marker")
    } and ` +
    `${counted(unfinished_uploads, "unfinished upload")}`,
    `listed after: ${report.listed_after}`,
    ...report.not_covered.map((what) => `not covered: ${what}`),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function leftText({ locked }: EraseReport): string {
  const parts = [`${counted(locked.objects, "object")} (${formatSize(locked.bytes)}) left`];
  if (locked.until !== null) parts.push(`locked until ${locked.until} at the latest`);
  if (locked.legal_holds > 0) parts.push(`${locked.legal_holds} under a legal hold`);
  if (locked.not_locked > 0) parts.push(`${locked.not_locked} not deleted`);
  parts.push(locked.keys > 0 ? "the key is one of them" : "none can be read, because the key is deleted");
  return parts.join(", ");
}
