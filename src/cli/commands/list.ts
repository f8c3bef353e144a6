/** `varve list`: the backups of a repository, a project or a volume, oldest first. */
import type { BackupInfo } from "../../project/catalog.ts";
import { tellProblem } from "../../context.ts";
import { UsageError, type VarveError } from "../../errors.ts";
import { parseVolumeSpec } from "../../format/names.ts";
import { type Session, withSession } from "../context.ts";
import { fitLine, print, printJson, printRemark } from "../terminal/output.ts";
import { examples, type Invocation, type Root } from "../root.ts";
import { listLines } from "./list_table.ts";

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
        async (session) => {
          const listed = await list(scope, session);
          const backups = listed.flatMap(({ backups }) => backups);
          if (options.json) return printJson(backups);
          const lines = listLines(backups, session.context.clock.now());
          print(lines.map((line) => `${fitLine(line)}\n`).join(""));
          printRemark(emptyLines(listed, session).join(""), { screen: invocation.screen, options });
        },
      );
    });
}

interface Listed {
  project: string;
  backups: BackupInfo[];
  /** It has none, not even one that cannot be read. */
  isEmpty: boolean;
}

async function list(
  { project, volume }: { project?: string; volume?: string },
  { store, secrets, context, closed }: Session,
): Promise<Listed[]> {
  const { openRepository } = await import("../../project/repository.ts");
  const { listedProjects } = await import("../../project/seen_points.ts");
  const { listBackups } = await import("../../project/catalog.ts");
  const repository = await openRepository(store, context);
  const listOne = async (project: string): Promise<Listed> => {
    let problems = 0;
    const onProblem = (problem: VarveError) => {
      problems++;
      tellProblem(problem, context);
    };
    const backups = await listBackups(repository, { project, volume, secrets }, { ...context, onProblem });
    return { project, backups, isEmpty: backups.length + problems === 0 };
  };
  if (project !== undefined) return [await listOne(project)];
  return await closed.each(await listedProjects(repository, context), listOne);
}

/** What is said where there is nothing to list. */
function emptyLines(listed: readonly Listed[], { store, closed }: Session): string[] {
  if (listed.length === 0 && closed.none) {
    return [`There are no projects in "${store.url}"; "varve init PROJECT" creates one\n`];
  }
  return listed.filter(({ isEmpty }) => isEmpty).map(({ project }) =>
    `${project}: no restore points; "varve backup ${project}/VOLUME SOURCE" creates one\n`
  );
}

function readName(name: string | undefined): { project?: string; volume?: string } {
  if (name === undefined) return {};
  if (!name.includes("/")) return { project: name };
  const { project, volume, point } = parseVolumeSpec(name);
  if (point === undefined) return { project, volume };
  throw new UsageError(`Cannot list "${name}": remove the @ part, or use varve show`);
}
