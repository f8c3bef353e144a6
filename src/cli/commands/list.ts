/** `varve list`: the backups of a repository, a project or a volume, oldest first. */
import type { BackupInfo } from "../../project/catalog.ts";
import { UsageError } from "../../errors.ts";
import { parseVolumeSpec } from "../../format/names.ts";
import { snapshotFromJson, snapshotText } from "../../format/snapshot_name.ts";
import { withSession } from "../context.ts";
import { printJson, printTable } from "../terminal/output.ts";
import { examples, type Invocation, type Root } from "../root.ts";
import { formatSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  ["varve list acme", "list the restore points of a project"],
  ["varve list acme/vm1 --json", "list those of a volume, for a script"],
);

export function addList(program: Root, invocation: Invocation): void {
  program.command("list")
    .description("List restore points, oldest first.")
    .argument("[name]", "PROJECT or PROJECT/VOLUME (default: all projects)")
    .addHelpText("after", EXAMPLES)
    .action(async (name, _, command) => {
      const options = command.optsWithGlobals();
      const scope = readName(name);
      await withSession(
        { options, invocation, interrupted: "nothing was changed" },
        async ({ store, secrets, context, closed }) => {
          const { openRepository } = await import("../../project/repository.ts");
          const { listedProjects } = await import("../../project/seen_points.ts");
          const { listBackups } = await import("../../project/catalog.ts");
          const repository = await openRepository(store, context);
          const list = (project: string) =>
            listBackups(repository, { project, volume: scope.volume, secrets }, context);
          const backups = scope.project === undefined
            ? (await closed.each(await listedProjects(repository, context), list)).flat()
            : await list(scope.project);
          if (options.json) printJson(backups);
          else {printTable(
              ["VOLUME", "BACKUP", "TIME", "SIZE", "SNAPSHOT", "TAGS", "HELD", "ENCRYPTION"],
              backups.map(row),
            );}
        },
      );
    });
}

function readName(name: string | undefined): { project?: string; volume?: string } {
  if (name === undefined) return {};
  if (!name.includes("/")) return { project: name };
  const { project, volume, point } = parseVolumeSpec(name);
  if (point === undefined) return { project, volume };
  throw new UsageError(`Cannot list "${name}": remove the @ part, or use varve show`);
}

function row(info: BackupInfo): string[] {
  const snapshot = snapshotFromJson(info.to_snapshot);
  return [
    `${info.project}/${info.volume}`,
    info.backup,
    info.time,
    formatSize(info.size_bytes),
    snapshot === undefined ? "" : snapshotText(snapshot),
    info.tags.join(","),
    info.held ? "held" : "",
    info.encryption,
  ];
}
