/** `varve stats`: what projects, volumes and points take in the store, and what forgetting them would free. */
import type { ProjectStats, StatsOptions } from "../../engine/stats/stats.ts";
import type { PointStats, VolumeStats } from "../../engine/stats/usage_walk.ts";
import { UsageError, VarveError } from "../../errors.ts";
import { assertProjectName, parseVolumeSpec } from "../../format/names.ts";
import { type Session, withSession } from "../context.ts";
import { print, printJson, printTable } from "../terminal/output.ts";
import { counted as numbered } from "../../util/counted.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "../root.ts";
import { formatSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  ["varve stats", "show the storage usage of every volume, shared and not"],
  ["varve stats acme/vm1", "show how much space forgetting each restore point would free"],
);

type Scope = Pick<StatsOptions, "project" | "volume">;

export function addStats(program: Root, invocation: Invocation): void {
  program.command("stats")
    .description("Show storage usage by project, volume and restore point.")
    .argument("[name]", "PROJECT or PROJECT/VOLUME (default: all projects)")
    .addHelpText("after", EXAMPLES)
    .action(async (name, _, command) => {
      const options = command.optsWithGlobals();
      const scope = name === undefined ? undefined : readScope(name);
      await withSession(
        { options, invocation, interrupted: "nothing was changed" },
        (session) => run(scope, { options, session, invocation }),
      );
    });
}

function readScope(name: string): Scope {
  if (!name.includes("/")) {
    assertProjectName(name);
    return { project: name };
  }
  const { project, volume, point } = parseVolumeSpec(name);
  if (point === undefined) return { project, volume };
  throw new UsageError(
    `Cannot count "${name}": usage is shown for whole volumes; remove the @ part`,
  );
}

async function run(
  scope: Scope | undefined,
  { options, session, invocation }: { options: GlobalOptions; session: Session; invocation: Invocation },
): Promise<void> {
  const { context, store, secrets, closed } = session;
  const { screen } = invocation;
  const { openRepository } = await import("../../project/repository.ts");
  const { listProjects } = await import("../../project/open_project.ts");
  const { stats } = await import("../../engine/stats/stats.ts");
  const repository = await openRepository(store, context);
  const isShown = screen.isTerminal && !options.json && !options.quiet;
  const count = (project: string) => {
    const onProgress: StatsOptions["onProgress"] = ({ objects, pages }) =>
      isShown && screen.show(`${project}: ${objects} objects, ${pages} pages`);
    return stats(repository, { project, volume: scope?.volume, secrets, onProgress }, context);
  };
  const counted = scope === undefined
    ? await closed.each(listProjects(repository, context), count)
    : [await count(scope.project)];
  screen.erase();
  if (options.json) printJson(scope === undefined ? counted : counted[0]);
  else if (scope?.volume !== undefined) printPoints(counted[0]!);
  else printVolumes(counted);
  if (!options.json && !options.quiet) { for (const project of counted) print(markedNote(project)); }
  assertAllReadable(counted);
}

function markedNote({ project, marked }: ProjectStats): string {
  if (marked === 0) return "";
  const objects = marked === 1 ? "1 object is" : `${marked} objects are`;
  return `${project}: ${objects} marked as not to be used; "varve verify ${project}" says which points need them\n`;
}

function assertAllReadable(projects: readonly ProjectStats[]): void {
  const broken = projects.filter(({ unreadable }) => unreadable.length > 0);
  const [first] = broken;
  if (first === undefined) return;
  const keys = broken.flatMap(({ unreadable }) => unreadable.map(({ key }) => key));
  const manifests = keys.filter((key) => key.split("/")[2] === "volumes").length;
  const what = [
    manifests > 0 ? numbered(manifests, "manifest") : "",
    keys.length > manifests ? numbered(keys.length - manifests, "page") : "",
  ].filter((part) => part !== "").join(" and ");
  const all = broken.map(({ project }) => project).join('", "');
  throw new VarveError(
    "damage",
    `Cannot count all of "${all}": ${what} cannot be read; run "varve verify ${first.project}" to see the effect`,
  );
}

function formatKnown(bytes: number | null): string {
  return bytes === null ? "?" : formatSize(bytes);
}

/** A line for each volume, and under them one for the project. */
function printVolumes(projects: ProjectStats[]): void {
  const rows = projects.flatMap((project) => [
    ...project.volumes.map((volume) => volumeRow(project.project, volume)),
    projectRow(project),
  ]);
  printTable(["VOLUME", "POINTS", "SIZE", "ALL POINTS", "STORED", "SHARED", "UNIQUE", "GARBAGE"], rows);
}

function volumeRow(project: string, volume: VolumeStats): string[] {
  const { size_bytes, logical_bytes, stored_bytes, shared_bytes, unique_bytes } = volume;
  const sizes = [size_bytes, logical_bytes, stored_bytes, shared_bytes, unique_bytes].map(formatKnown);
  return [`${project}/${volume.volume}`, String(volume.points), ...sizes, ""];
}

function projectRow(
  { project, points, logical_bytes, stored_bytes, unreferenced_bytes }: ProjectStats,
): string[] {
  const garbage = formatKnown(unreferenced_bytes);
  return [project, String(points), "", formatKnown(logical_bytes), formatSize(stored_bytes), "", "", garbage];
}

function printPoints({ volumes }: ProjectStats): void {
  const row = ({ backup, time, size_bytes, unique_bytes }: PointStats) => [
    ...[backup, time, formatSize(size_bytes), formatKnown(unique_bytes)],
  ];
  printTable(["BACKUP", "TIME", "SIZE", "FREES"], (volumes[0]?.backups ?? []).map(row));
}
