/** `varve erase`: a project goes for good, its keys first. */
import { createInterface } from "node:readline";
import type { EraseReport } from "../engine/erase/erase.ts";
import { UsageError, VarveError } from "../errors.ts";
import { checkProjectName } from "../format/names.ts";
import { type Session, withSession } from "./context.ts";
import { print, printJson } from "./output.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "./root.ts";
import { formatDuration, formatSize } from "./units.ts";

const EXAMPLES = examples(
  ["varve erase acme", "asks for the name again; needs no passphrase"],
  ["varve erase acme --yes-erase acme --json", "for a script; the report says what is left, and until when"],
);

interface EraseOptions extends GlobalOptions {
  yesErase?: string | undefined;
}

export function addErase(program: Root, invocation: Invocation): void {
  program.command("erase")
    .description("Erase a project for good: its keys, then all that there is of it, old versions included.")
    .argument("<project>")
    .option("--yes-erase <name>", "the project's name again, instead of being asked for it")
    .addHelpText("after", EXAMPLES)
    .action(async (project, _, command) => {
      const options: EraseOptions = command.optsWithGlobals();
      checkProjectName(project);
      await confirm(project, { options, invocation });
      await withSession(
        {
          options,
          invocation,
          interrupted: `"${project}" is erased in part; run it again`,
          needsNoSecret: true,
        },
        (session) => run(project, { options, session, invocation }),
      );
    });
}

/** Throws `UsageError` unless the operator names the project once more. */
async function confirm(
  project: string,
  { options, invocation }: { options: EraseOptions; invocation: Invocation },
): Promise<void> {
  const again = options.yesErase ?? await ask(project, invocation);
  if (again === project) return;
  throw new UsageError(`Cannot erase "${project}": its name was not repeated`);
}

async function ask(project: string, { screen, signal }: Invocation): Promise<string> {
  if (process.stdin.isTTY !== true || !screen.isTerminal) {
    throw new UsageError(
      `Cannot erase "${project}": nobody can be asked here; repeat its name with --yes-erase`,
    );
  }
  screen.write(`All backups of "${project}" will be gone for good.\n`);
  const lines = createInterface({ input: process.stdin, terminal: false, signal });
  screen.write("Its name again: ");
  try {
    for await (const line of lines) return line;
    signal.throwIfAborted();
    return "";
  } finally {
    lines.close();
  }
}

async function run(
  project: string,
  { options, session, invocation }: { options: EraseOptions; session: Session; invocation: Invocation },
): Promise<void> {
  const { screen } = invocation;
  const { openRepository } = await import("../engine/repository.ts");
  const { erase } = await import("../engine/erase/erase.ts");
  const repository = await openRepository(session.store, session.context);
  const isShown = screen.isTerminal && !options.json && !options.quiet;
  const report = await erase(repository, {
    project,
    onProgress: (removed) => isShown && screen.show(`${project}: ${removed} deleted`),
    onWait: (leases, waitMs) => options.quiet || screen.write(waitLine(project, leases, waitMs)),
  }, session.context);
  screen.erase();
  // A report would be the proof of nothing.
  if (report.empty && isNothing(report)) {
    const { noProject } = await import("../engine/open_project.ts");
    throw await noProject(repository, `Cannot erase "${project}": there is no such project`, session.context);
  }
  if (options.json) printJson(report);
  else if (!options.quiet) print(summary(report));
  if (!report.empty) throw new VarveError("failed", `Cannot erase all of "${project}": ${leftText(report)}`);
}

function waitLine(project: string, leases: number, waitMs: number): string {
  return `"${project}" has ${leases} leases of running or ended work: waiting ${
    formatDuration(waitMs / 1000)
  } ` +
    `until that has noticed\n`;
}

function isNothing({ deleted: { objects, delete_markers, unfinished_uploads } }: EraseReport): boolean {
  return objects + delete_markers + unfinished_uploads === 0;
}

function summary(report: EraseReport): string {
  const { project, deleted, duration_s } = report;
  const { objects, bytes, delete_markers, unfinished_uploads } = deleted;
  if (isNothing(report)) return `${project}: nothing was deleted\n`;
  return `${project}: ${objects} objects (${formatSize(bytes)}), ${delete_markers} delete markers and ` +
    `${unfinished_uploads} unfinished uploads deleted in ${formatDuration(duration_s)}\n`;
}

function leftText({ held }: EraseReport): string {
  const parts = [`${held.objects} objects (${formatSize(held.bytes)}) are still there`];
  if (held.until !== null) parts.push(`locked until ${held.until} at the latest`);
  if (held.legal_holds > 0) parts.push(`${held.legal_holds} under a legal hold`);
  if (held.not_locked > 0) parts.push(`${held.not_locked} that could not be deleted`);
  parts.push(held.keys > 0 ? "the key is among them" : "nobody can read them, the key is gone");
  return parts.join(", ");
}
