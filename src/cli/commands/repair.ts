/** `varve repair`: heals what a verify finds, or marks it so that the next backup does. */
import { statSync } from "node:fs";
import type { SourceOpener } from "../../engine/verify/heal_source.ts";
import type { RepairReport } from "../../engine/verify/repair.ts";
import { UsageError, VarveError } from "../../errors.ts";
import { assertProjectName, parseVolumeSpec } from "../../format/names.ts";
import { isRbdSpec } from "../../rbd/spec.ts";
import { sourceOf } from "../../sources/source_spec.ts";
import { openOtherStore, type Session, withSession } from "../context.ts";
import { print, printJson, reportDone } from "../terminal/output.ts";
import { counted } from "../../util/counted.ts";
import { printPointTable } from "./point_table.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "../root.ts";
import { formatDuration } from "../terminal/units.ts";

const EXAMPLES = examples(
  [
    "varve repair acme/db --source /dev/rbd0",
    "re-read lost chunks from a device that still holds them, at any position",
  ],
  ["varve repair acme --from-repo s3://second/copy", "fetch lost objects from a copy of the project"],
  ["varve repair acme", "mark damaged objects, so that the next backup stores them again"],
);

interface RepairOptions extends GlobalOptions {
  source?: string | undefined;
  fromRepo?: string | undefined;
}

export function addRepair(program: Root, invocation: Invocation): void {
  program.command("repair")
    .description(
      "Repair missing and damaged objects, or mark them for the next backup to repair. Deletes nothing.",
    )
    .argument("<spec>", "PROJECT or PROJECT/VOLUME")
    .option("--source <path>", "read content from a device, a file or rbd:POOL/IMAGE@SNAP")
    .option(
      "--from-repo <url>",
      "fetch objects from a copy of the project, including lost keys, restore points and holds",
    )
    .addHelpText("after", EXAMPLES)
    .action(async (spec, _, command) => {
      const options = command.optsWithGlobals();
      const scope = readScope(spec);
      await withSession(
        { options, invocation, interrupted: "objects repaired so far stay repaired" },
        async (session) => {
          const repaired = await run(scope, { options, session, invocation });
          reportDone(invocation.screen, () => {
            if (options.json) printJson(repaired);
            else if (!options.quiet) printReport(repaired);
          });
          const { length: left } = repaired.left;
          if (left === 0) return;
          const objects = left === 1 ? "1 object is" : `${left} objects are`;
          throw new VarveError(
            "damage",
            `Cannot repair all of "${spec}": ${objects} still damaged or missing`,
          );
        },
      );
    });
}

async function run(
  scope: { project: string; volume?: string },
  { options, session, invocation }: { options: RepairOptions; session: Session; invocation: Invocation },
): Promise<RepairReport> {
  const { context, store, secrets } = session;
  const { openRepository } = await import("../../project/repository.ts");
  const { repair } = await import("../../engine/verify/repair.ts");
  const repository = await openRepository(store, context);
  const source = sourceOpener(options, invocation);
  const fromStore = options.fromRepo === undefined
    ? undefined
    : await openOtherStore(options.fromRepo, { options, context, origin: "--from-repo" });
  try {
    return await repair(repository, { ...scope, secrets, source, fromStore }, context);
  } finally {
    await fromStore?.close();
  }
}

/** Files, devices and images can be read again, a pipe cannot. */
function sourceOpener(
  { source: path }: RepairOptions,
  { signal, screen }: Invocation,
): SourceOpener | undefined {
  if (path === undefined) return undefined;
  const isReadAgain = isRbdSpec(path) || isFileOrDevice(path);
  let isRead = false;
  return async () => {
    if (isRead && !isReadAgain) return undefined;
    isRead = true;
    const { openSource } = await import("../../sources/open.ts");
    return await openSource(sourceOf(path), { format: "raw", signal, stderr: screen });
  };
}

/** What cannot be looked at cannot be opened either, which says why. */
function isFileOrDevice(path: string): boolean {
  try {
    const stats = statSync(path);
    return stats.isFile() || stats.isBlockDevice();
  } catch {
    return false;
  }
}

function readScope(spec: string): { project: string; volume?: string } {
  if (!spec.includes("/")) {
    assertProjectName(spec);
    return { project: spec };
  }
  const { project, volume, point } = parseVolumeSpec(spec);
  if (point === undefined) return { project, volume };
  throw new UsageError(
    `Cannot repair "${spec}": only whole projects and volumes are repaired; remove the @ part`,
  );
}

function printReport(report: RepairReport): void {
  const { project, healed, left, marked, points, findings, duration_s } = report;
  print(`${project}: ${healed.length} healed, ${left.length} left, in ${formatDuration(duration_s)}\n`);
  if (report.not_missed > 0) {
    const only = report.not_missed === 1 ? "1 point is" : `${report.not_missed} points are`;
    print(`${only} only in the other repository, and not missed here: forgotten, or never here\n`);
  }
  if (left.length === 0) return;
  if (marked.length > 0) print(markedLine(project, { marked, points }));
  printPointTable([{ project, points, findings }], "");
  const others = left.filter(({ key }) => !marked.includes(key));
  for (const { kind, reason } of others) print(`${kind}: ${reason}\n`);
  if (others.length > 0) print("next: --from-repo URL, a repository that has them\n");
}

/** What was marked is no failure: it waits for a backup. */
function markedLine(project: string, { marked, points }: Pick<RepairReport, "marked" | "points">): string {
  const volumes = [...new Set(points.map(({ volume }) => `${project}/${volume}`))];
  const [first = project, ...rest] = volumes;
  const of = rest.length === 0 ? first : `${first} or ${counted(rest.length, "other volume")}`;
  const [its, it] = marked.length === 1 ? ["its", "it"] : ["their", "them"];
  const until = points.length === 1 ? "1 point is not whole" : `${points.length} points are not whole`;
  return `${marked.length} marked: the next backup of ${of} that has ${its} content stores ${it} again; until then ${until}:\n`;
}
