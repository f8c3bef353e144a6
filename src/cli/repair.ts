/** `varve repair`: heals what a verify finds, or sets it aside so that the next backup does. */
import type { RepairReport } from "../engine/verify/repair.ts";
import { UsageError, VarveError } from "../errors.ts";
import { checkProjectName, parseVolumeSpec } from "../format/names.ts";
import type { Source } from "../source/source.ts";
import { openOtherStore, type Session, withSession } from "./context.ts";
import { print, printJson } from "./output.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "./root.ts";
import { formatDuration } from "./units.ts";

const EXAMPLES = examples(
  [
    "varve repair acme/db --source /dev/rbd0",
    "from a device that still holds some of the content, wherever it lies there",
  ],
  ["varve repair acme --from-repo s3://second/copy", "from a second repository of the same project"],
  ["varve repair acme", "set aside what is damaged: the next backups with that content store it again"],
);

interface RepairOptions extends GlobalOptions {
  source?: string | undefined;
  fromRepo?: string | undefined;
}

export function addRepair(program: Root, invocation: Invocation): void {
  program.command("repair")
    .description("Heal what is missing or damaged; what cannot be healed is set aside.")
    .argument("<spec>", "PROJECT or PROJECT/VOLUME")
    .option("--source <path>", "a device or image that may still hold the content")
    .option("--from-repo <url>", "another repository that has the same project")
    .addHelpText("after", EXAMPLES)
    .action(async (spec, _, command) => {
      const options = command.optsWithGlobals();
      const scope = readScope(spec);
      await withSession(
        { options, invocation, interrupted: "what was healed stays healed" },
        async (session) => {
          const report = await run(scope, { options, session, invocation });
          if (options.json) printJson(report);
          else if (!options.quiet) print(summary(report));
          if (report.left.length === 0) return;
          throw new VarveError(
            "damage",
            `Cannot heal all of "${spec}": ${report.left.length} objects are left`,
          );
        },
      );
    });
}

async function run(
  scope: { project: string; volume?: string },
  { options, session, invocation }: { options: RepairOptions; session: Session; invocation: Invocation },
): Promise<RepairReport> {
  const { context, store, secret } = session;
  const { openRepository } = await import("../engine/repository.ts");
  const { repair } = await import("../engine/verify/repair.ts");
  const repository = await openRepository(store, context);
  const source = await openHealingSource(options, invocation);
  const fromStore = options.fromRepo === undefined
    ? undefined
    : await openOtherStore(options.fromRepo, { options, context });
  try {
    return await repair(repository, { ...scope, secret, source, fromStore }, context);
  } finally {
    await source?.close();
    await fromStore?.close();
  }
}

async function openHealingSource(
  { source }: RepairOptions,
  { signal, screen }: Invocation,
): Promise<Source | undefined> {
  if (source === undefined) return undefined;
  const { openSource } = await import("../source/open.ts");
  return await openSource({ path: source }, { format: "raw", signal, stderr: screen });
}

function readScope(spec: string): { project: string; volume?: string } {
  if (!spec.includes("/")) {
    checkProjectName(spec);
    return { project: spec };
  }
  const { project, volume, point } = parseVolumeSpec(spec);
  if (point === undefined) return { project, volume };
  throw new UsageError(
    `Cannot repair "${spec}": a project or a volume is repaired, leave out what follows the @`,
  );
}

function summary({ project, healed, left, duration_s }: RepairReport): string {
  const lines = [
    `${project}: ${healed.length} healed, ${left.length} left, in ${formatDuration(duration_s)}`,
  ];
  for (const { kind, reason } of left) lines.push(`${kind}: ${reason}`);
  return lines.join("\n") + "\n";
}
