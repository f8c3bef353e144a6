/** `varve verify`: reads back what restore points need, and tells what is missing or damaged. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { RangeReport, VerifySourceReport } from "../../engine/verify/verify_source.ts";
import type { Sample } from "../../engine/verify/sample.ts";
import type { VerifyProgress } from "../../engine/verify/verifier.ts";
import type { VerifyReport } from "../../engine/verify/verify.ts";
import { UsageError, VarveError } from "../../errors.ts";
import { CHUNKS_PREFIX, projectPrefix } from "../../format/layout.ts";
import { assertProjectName, parseVolumeSpec } from "../../format/names.ts";
import { sourceOf } from "../../sources/source_spec.ts";
import { withSession } from "../context.ts";
import { isForPeople, print, printJson } from "../terminal/output.ts";
import { counted } from "../../util/counted.ts";
import { printPointTable } from "./point_table.ts";
import { Progress, type ProgressState } from "../terminal/progress.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "../root.ts";
import { readShare } from "../sample.ts";
import { formatDuration, formatSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  ["varve verify acme", "read back every chunk of a project"],
  ["varve verify acme/db@before-upgrade", "verify one restore point"],
  ["varve verify --exists", "check that all objects exist, in all projects; cheap enough for every night"],
  ["varve verify acme --sample 1/7", "read back one seventh each day, everything within a week"],
  ["varve verify acme --max-age 30d", "skip chunks verified within 30 days; rerun it to resume"],
  ["varve verify acme --sample 5%", "read back a random sample"],
  [
    "varve verify acme/db@before-upgrade --source /dev/rbd0",
    "compare a restore point with the mapped snapshot and list the differences",
  ],
  [
    "varve verify acme/db@before-upgrade --source rbd:rbd/db@before-upgrade",
    "compare it without mapping the snapshot",
  ],
);

/** Objects that are told by their keys. */
const MAX_OBJECTS = 20;
/** Ranges of one kind that get a line each. */
const MAX_RANGES = 20;
const DAY_MS = 24 * 3600_000;

export function addVerify(program: Root, invocation: Invocation): void {
  program.command("verify")
    .description("Check that restore points are complete and undamaged. Changes nothing.")
    .argument("[spec]", "PROJECT, PROJECT/VOLUME or PROJECT/VOLUME@POINT (default: all projects)")
    .option("--exists", "check only that every object exists")
    .option(
      "--sample <part>",
      "read back a random share (e.g. 5%) or today's part (e.g. 1/7) of the chunks",
      readSample,
    )
    .option(
      "--max-age <days>",
      "skip chunks that this host verified within this many days, e.g. 30d",
      readDays,
    )
    .option(
      "--source <path>",
      "compare a restore point with a device, a file, rbd:POOL/IMAGE@SNAP, or - for standard input",
    )
    .addHelpText("after", EXAMPLES)
    .action(async (spec, _, command) => {
      const options = command.optsWithGlobals();
      if (options.source !== undefined) {
        assertNoOtherMode(options);
        return await compare(spec, { source: options.source, options, invocation });
      }
      if (options.exists === true && options.sample !== undefined) {
        throw new UsageError(
          "Cannot verify: --exists and --sample contradict each other; give only one of them",
        );
      }
      const sample: Sample = options.exists === true ? { kind: "none" } : options.sample ?? { kind: "all" };
      await withSession(
        { options, invocation, interrupted: "the remaining chunks were not verified" },
        async ({ store, secrets, context, closed }) => {
          const { openRepository } = await import("../../project/repository.ts");
          const { expectedProjects } = await import("../../project/seen_points.ts");
          const { verify } = await import("../../engine/verify/verify.ts");
          const repository = await openRepository(store, context);
          const progress = new Progress(invocation.screen, { enabled: isForPeople(options) });
          const onProgress = (state: VerifyProgress) => progress.update(progressState(state));
          const work = (scope: Scope) =>
            verify(
              repository,
              { ...scope, secrets, sample, maxAgeDays: options.maxAge, onProgress },
              context,
            );
          const reports = await (spec === undefined
            ? closed.each(await expectedProjects(repository, context), (project) =>
              work({ project }))
            : Promise.all([work(readScope(spec))])).finally(() => progress.end());
          if (options.json) printJson(spec === undefined ? reports : reports[0]);
          else if (!options.quiet) printReports(reports, sample);
          assertNoFindings(reports);
        },
      );
    });
}

function progressState({ points, chunks, expected, bytes }: VerifyProgress): ProgressState {
  if (chunks === 0) return { done: points, total: undefined, unit: "point", notes: [] };
  return {
    done: chunks,
    total: expected,
    unit: "chunk",
    workBytes: bytes,
    notes: [`read ${formatSize(bytes)}`],
  };
}

/** All of the source is compared: what asks for less must not seem to be heard. */
function assertNoOtherMode(options: { exists?: unknown; sample?: unknown; maxAge?: unknown }): void {
  const others = { "--exists": options.exists, "--sample": options.sample, "--max-age": options.maxAge };
  const [other] = Object.entries(others).find(([, value]) => value !== undefined) ?? [];
  if (other === undefined) return;
  throw new UsageError(
    `Cannot verify: --source compares the whole restore point; remove ${other}`,
  );
}

/** Of one point with a source. */
async function compare(
  spec: string | undefined,
  { source: path, options, invocation }: { source: string; options: GlobalOptions; invocation: Invocation },
): Promise<void> {
  if (spec === undefined || !spec.includes("/")) {
    throw new UsageError("Cannot compare with a source: expected one restore point, PROJECT/VOLUME[@POINT]");
  }
  await withSession(
    { options, invocation, interrupted: "the comparison is incomplete" },
    async ({ store, secrets, context }) => {
      const { openRepository } = await import("../../project/repository.ts");
      const { verifySource } = await import("../../engine/verify/verify_source.ts");
      const { openSource } = await import("../../sources/open.ts");
      const { signal, screen } = invocation;
      const warn = (line: string) => context.log.warn({}, line);
      const repository = await openRepository(store, context);
      const source = await openSource(sourceOf(path), { format: "raw", signal, stderr: screen, warn });
      const progress = new Progress(screen, { enabled: isForPeople(options) });
      const onProgress = ({ chunks, total }: { chunks: number; total: number }) =>
        progress.update({ done: chunks, total, unit: "chunk", notes: [] });
      try {
        const request = { ...parseVolumeSpec(spec), secrets, source, onProgress };
        const report = await verifySource(repository, request, context).finally(() => progress.end());
        if (options.json) printJson(report);
        else if (!options.quiet) print(comparison(spec, report));
        assertNoDifferences(report, { spec, source: source.name });
      } finally {
        await source.close();
      }
    },
  );
}

function comparison(spec: string, report: VerifySourceReport): string {
  const { backup, chunks, differs, unreadable, duration_s } = report;
  const isEqual = differs.bytes === 0 && unreadable.bytes === 0;
  const state = isEqual ? ": all equal" : "";
  return [
    `${spec} (${backup}): ${counted(chunks, "chunk")} compared in ${formatDuration(duration_s)}${state}`,
    ...rangeLines("differs", differs),
    ...rangeLines("cannot be read", unreadable),
    ...unreadable.reason === null ? [] : [`first: ${unreadable.reason}`],
  ].map((line) => `${line}\n`).join("");
}

function rangeLines(what: string, { ranges, more_ranges }: RangeReport): string[] {
  const shown = ranges.slice(0, MAX_RANGES);
  const lines = shown.map(({ offset, length }) => `${what}: ${length} bytes at offset ${offset}`);
  const more = ranges.length - shown.length + more_ranges;
  return more === 0 ? lines : [...lines, `${what}: and ${counted(more, "more range")}`];
}

/** What can be read is what was backed up: which of the two is right, nobody can tell from here. */
function assertNoDifferences(
  { differs, unreadable, is_same_snapshot, missing }: VerifySourceReport,
  { spec, source }: { spec: string; source: string },
): void {
  const states: string[] = [];
  if (unreadable.bytes > 0) {
    states.push(`${formatSize(unreadable.bytes)} of it cannot be read; see "varve verify ${spec}"`);
  }
  if (differs.bytes > 0) {
    states.push(`${formatSize(differs.bytes)} differ from "${source}": ${whyItDiffers(is_same_snapshot)}`);
  }
  if (missing.length > 0) states.push("its volume has lost points, or may have, as reported above");
  if (states.length > 0) throw new VarveError("damage", `Cannot verify "${spec}": ${states.join("; ")}`);
}

function whyItDiffers(isSameSnapshot: boolean | null): string {
  if (isSameSnapshot === false) return "its id shows that it is not the snapshot that was backed up";
  const remedy = "the backup was made over another base: back up in full";
  if (isSameSnapshot) return `it is the snapshot that was backed up, so ${remedy}`;
  return `it may have changed since or be another snapshot; if it is the same snapshot, unchanged, ${remedy}`;
}

/** A share of the chunks by chance; or the part of today, counted from 1970 in UTC. */
function readSample(text: string): Sample {
  const { share, parts } = readShare(text);
  if (parts === undefined) return { kind: "share", share, random: Math.random };
  return { kind: "part", parts, part: Math.floor(Date.now() / DAY_MS) % parts };
}

function readDays(text: string): number {
  const days = /^(\d{1,5})d?$/.exec(text)?.[1];
  if (days === undefined) throw new InvalidArgumentError("Expected a number of days, such as 30d.");
  return Number(days);
}

interface Scope {
  project: string;
  volume?: string;
  point?: string | undefined;
}

function readScope(spec: string): Scope {
  if (spec.includes("/")) return parseVolumeSpec(spec);
  assertProjectName(spec);
  return { project: spec };
}

/** First which points are whole, then what to do, and last by object. */
function printReports(reports: readonly VerifyReport[], sample: Sample): void {
  printPointTable(reports, sample.kind === "none" ? "all there" : "all there, read back in part");
  for (const report of reports) {
    print([...nextLines(report), ...objectLines(report), summary(report)].join(""));
  }
}

function nextLines({ project, findings }: VerifyReport): string[] {
  if (findings.length === 0) return [];
  // Keys, manifests and holds are nowhere but in a copy of the repository.
  const inSource = projectPrefix(project) + CHUNKS_PREFIX;
  const others = findings.filter(({ key }) => !key.startsWith(inSource)).length;
  if (others === findings.length) return [`next: varve repair ${project} --from-repo URL\n`];
  const but = others === 0 ? "" : `; ${counted(others, "object")} can only come from a repository`;
  return [`next: varve repair ${project} --source DEVICE, or --from-repo URL${but}\n`];
}

function objectLines({ project, findings }: VerifyReport): string[] {
  const prefix = projectPrefix(project).length;
  const lines = findings.slice(0, MAX_OBJECTS).map(({ kind, key, places }) => {
    const points = places.length === 0 ? "" : `, in ${counted(places.length, "point")}`;
    return `${kind}: ${shorten(key.slice(prefix))}${points}\n`;
  });
  const more = findings.length - lines.length;
  return more > 0
    ? [...lines, `and ${counted(more, "object")} more; --json tells all, with whole keys\n`]
    : lines;
}

/** Ids by their first digits. */
function shorten(name: string): string {
  return name.replace(/[0-9a-f]{32,}/g, (id) => `${id.slice(0, 12)}…`);
}

function summary(
  { project, chunks, findings, marked, unmarked, duration_s, ...report }: VerifyReport,
): string {
  const fresh = report.chunks_fresh > 0 ? `, ${report.chunks_fresh} were lately` : "";
  const read = `${report.chunks_read} read back (${formatSize(report.downloaded_bytes)})${fresh}`;
  const wellState = report.chunks_read === 0 ? "nothing missing" : "nothing missing, nothing damaged";
  const state = findings.length === 0 ? wellState : "DAMAGE";
  const notes = [
    marked > 0 ? `; ${marked} marked as not to be used` : "",
    unmarked > 0 ? `; ${unmarked} whole again, no longer marked` : "",
  ].join("");
  return `${project}: ${counted(chunks, "chunk")}, ${read} in ${
    formatDuration(duration_s)
  }: ${state}${notes}\n`;
}

function assertNoFindings(reports: VerifyReport[]): void {
  const count = reports.reduce((sum, { findings }) => sum + findings.length, 0);
  if (count === 0) return;
  const objects = count === 1 ? "1 object is" : `${count} objects are`;
  throw new VarveError("damage", `Cannot verify the repository: ${objects} missing or damaged`);
}
