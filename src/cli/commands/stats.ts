/** `varve stats`: what projects, volumes and points take in the store, and what forgetting them would free. */
import type { ProjectStats, StatsOptions, StatsProgress } from "../../engine/stats/stats.ts";
import type { PointStats, VolumeStats } from "../../engine/stats/usage_walk.ts";
import { UsageError, VarveError } from "../../errors.ts";
import { assertProjectName, parseVolumeSpec } from "../../format/names.ts";
import { type Session, withSession } from "../context.ts";
import { isForPeople, print, printJson, printTable } from "../terminal/output.ts";
import { distinctTimes } from "../terminal/point_times.ts";
import { Progress, type ProgressState } from "../terminal/progress.ts";
import { shortId } from "../../format/backup_id.ts";
import { formatTime } from "../../util/time.ts";
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
  const progress = new Progress(screen, { enabled: isForPeople(options) });
  const count = (project: string) => {
    const onProgress = (state: StatsProgress) => progress.update(progressState(state));
    return stats(repository, { project, volume: scope?.volume, secrets, onProgress }, context)
      .finally(() => progress.end());
  };
  const counted = scope === undefined
    ? await closed.each(listProjects(repository, context), count)
    : [await count(scope.project)];
  if (options.json) printJson(scope === undefined ? counted : counted[0]);
  else if (scope?.volume !== undefined) printPoints(counted[0]!);
  else printVolumes(counted);
  if (isForPeople(options)) {
    const notes = counted.flatMap((project) => [savedNote(project), markedNote(project)]);
    print(notes.join(""));
  }
  assertAllReadable(counted);
}

/** First objects are listed, then pages read, whose number is known by then. */
function progressState({ objects, pages, ofPages }: StatsProgress): ProgressState {
  if (ofPages === undefined) return { done: objects, total: undefined, unit: "object", notes: [] };
  return { done: pages, total: ofPages, unit: "page", notes: [`${objects} objects`] };
}

/** By how much deduplication and compression make it less. */
function savedNote({ project, points, logical_bytes: logical, stored_bytes: stored }: ProjectStats): string {
  if (logical === null || points === 0 || stored === 0) return "";
  const ratio = (logical / stored).toFixed(1);
  return `${project}: ${numbered(points, "point")} of ${formatSize(logical)} in all, stored in ${
    formatSize(stored)
  } (ratio ${ratio})\n`;
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
  if (projects.length > 1) rows.push(totalRow(projects));
  printTable(["VOLUME", "POINTS", "NEWEST", "ALL POINTS", "STORED", "SHARED", "UNIQUE", "GARBAGE"], rows);
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

/** Over projects, which share nothing. */
function totalRow(projects: readonly ProjectStats[]): string[] {
  const sum = (values: (number | null)[]) =>
    values.reduce((total, value) => total === null || value === null ? null : total + value, 0);
  const points = sum(projects.map(({ points }) => points))!;
  const logical = sum(projects.map(({ logical_bytes }) => logical_bytes));
  const stored = sum(projects.map(({ stored_bytes }) => stored_bytes));
  const garbage = sum(projects.map(({ unreferenced_bytes }) => unreferenced_bytes));
  const [all, kept, left] = [logical, stored, garbage].map(formatKnown) as [string, string, string];
  return ["all projects", String(points), "", all, kept, "", "", left];
}

function printPoints({ volumes }: ProjectStats): void {
  const points = volumes[0]?.backups ?? [];
  const timeOf = distinctTimes(points.map(({ time }) => time));
  const row = ({ backup, time, size_bytes, unique_bytes }: PointStats) => [
    timeOf(time) ?? formatTime(Date.parse(time), "second"),
    shortId(backup),
    formatSize(size_bytes),
    formatKnown(unique_bytes),
  ];
  printTable(["TIME", "ID", "SIZE", "FREES"], points.map(row));
}
