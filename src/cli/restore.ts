/** `varve restore`: a restore point goes back onto a device, into a file, or to standard output. */
import { isatty } from "node:tty";
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { RestoreOptions as Request, RestoreProgress, RestoreReport } from "../engine/restore/restore.ts";
import { UsageError, VarveError } from "../errors.ts";
import { parseVolumeSpec } from "../format/names.ts";
import { snapshotFromJson } from "../format/snapshot_name.ts";
import type { Source } from "../source/source.ts";
import { type Session, withSession } from "./context.ts";
import { print, printJson, reportDone } from "./output.ts";
import { Progress, type ProgressState } from "./progress.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "./root.ts";
import { formatDuration, formatSize, parseSize } from "./units.ts";

const EXAMPLES = examples(
  [
    "varve restore acme/vm1 --to vm1.img",
    "the latest backup; a file that exists is changed only where it differs",
  ],
  ["varve restore acme/vm1@monday --to /dev/rbd0", "the backup of a snapshot, onto a device"],
  ["varve restore acme/vm1@~1 --to - | rbd import - rbd/vm1-old", "the one before the latest, as a stream"],
  [
    "rbd export-diff --from-snap tuesday rbd/vm1 - | " +
    "varve restore acme/vm1@monday --to /dev/rbd0 --changed-since tuesday --changes -",
    "a device that was the backup of tuesday: only what changed since, and what differs, is read and written",
  ],
  [
    "varve restore acme/vm1@monday --to - --format rbd-diff --from tuesday | rbd import-diff - rbd/vm1",
    "roll an image back that still has the snapshot tuesday, and is as it was",
  ],
);

const STDIN_FD = 0, STDOUT_FD = 1;

interface RestoreOptions extends GlobalOptions {
  to: string;
  format: "raw" | "rbd-diff";
  from?: string | undefined;
  head?: true | undefined;
  changedSince?: string | undefined;
  changes?: string | undefined;
  offset?: number | undefined;
  length?: number | undefined;
  trustCache: boolean;
  dryRun?: true | undefined;
  verifyTarget?: true | undefined;
  force?: true | undefined;
  keepGoing?: true | undefined;
}

export function addRestore(program: Root, invocation: Invocation): void {
  program.command("restore")
    .description("Restore a volume. Only what differs on the target is fetched.")
    .argument("<point>", "PROJECT/VOLUME[@POINT]; a POINT is latest, a backup, a snapshot, ~N or a time")
    .requiredOption("--to <path>", "a block device, a file, or - for standard output")
    .addOption(
      new Option("--format <format>", "raw: the volume's bytes; rbd-diff: a stream for rbd import-diff")
        .choices(["raw", "rbd-diff"]).default("raw" as const),
    )
    .option("--from <point>", "with rbd-diff: the backup whose snapshot the image still has")
    .option("--head", "with rbd-diff: do not make the snapshot of the point, the image may still have it")
    .option("--changed-since <point>", "the target is that backup, except for what --changes names")
    .option(
      "--changes <file>",
      "rbd export-diff --from-snap of that backup's snapshot, or - for standard input",
    )
    .option("--offset <bytes>", "restore only the part that begins here", readSize)
    .option("--length <bytes>", "and has this length (default: up to the end)", readSize)
    .option("--no-trust-cache", "read a file also where it was not written to since it was last restored")
    .option("--dry-run", "compare and say what would be fetched and written, change nothing")
    .option("--verify-target", "in the end read everything back from the device and compare")
    .option("--force", "also write to a device that is mounted or in use")
    .option("--keep-going", "restore all that can be where some of it is damaged")
    .addHelpText("after", EXAMPLES)
    .action(async (point, _, command) => {
      const options = command.optsWithGlobals();
      checkOptions(options);
      const interrupted = `"${targetName(options.to)}" is not complete`;
      await withSession(
        { options, invocation, interrupted },
        (session) => run(point, { options, session, invocation }),
      );
    });
}

function readSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError("Expected a number of bytes, like 4096 or 4M.");
  return bytes;
}

function checkOptions(options: RestoreOptions): void {
  if (options.json === true && options.to === "-") {
    throw new UsageError("Cannot print JSON: the volume goes to standard output");
  }
  const refuse = (condition: boolean, state: string) => {
    if (condition) throw new UsageError(`Cannot restore: ${state}`);
  };
  const isDiff = options.format === "rbd-diff";
  refuse(
    !isDiff && (options.from !== undefined || options.head === true),
    "--from and --head go with --format rbd-diff",
  );
  refuse(
    (options.changes === undefined) !== (options.changedSince === undefined),
    "--changed-since and --changes go together",
  );
  refuse(isDiff && options.changes !== undefined, "--changes goes with a raw target");
  refuse(
    isDiff && (options.offset !== undefined || options.length !== undefined),
    "a stream of differences is always whole",
  );
  refuse(options.changes === "-" && isatty(STDIN_FD), "no changes are piped in");
  refuse(
    options.to === "-" && options.dryRun !== true && isatty(STDOUT_FD),
    "standard output is a terminal: pipe it on, or name a file or device",
  );
  refuse(
    options.verifyTarget === true && (isDiff || options.to === "-"),
    "--verify-target cannot read a stream back",
  );
}

interface Run {
  options: RestoreOptions;
  session: Session;
  invocation: Invocation;
}

async function run(spec: string, { options, session, invocation }: Run): Promise<void> {
  const { context, store } = session;
  const { screen } = invocation;
  const { openRepository } = await import("../engine/repository.ts");
  const { restore } = await import("../engine/restore/restore.ts");
  const repository = await openRepository(store, context);
  const progress = new Progress(screen, { enabled: !options.json && !options.quiet });
  const changes = await openChanges(options, invocation);
  try {
    const report = await restore(repository, {
      ...request(spec, { options, session, invocation }, changes),
      onProgress: (state: RestoreProgress) => progress.update(progressState(state)),
    }, context);
    progress.end(report.damaged.length === 0 && options.dryRun !== true ? summary(spec, report) : "");
    if (options.dryRun === true && options.json !== true && options.quiet !== true && options.to !== "-") {
      print(summary(spec, report));
    }
    context.log.info(report, "restored");
    if (options.json && options.dryRun) printJson(report);
    else if (options.json) reportDone(screen, () => printJson(report));
    refuseDamage(report, { spec, options, screen });
  } finally {
    progress.end();
    await changes?.close();
  }
}

async function openChanges(
  { changes }: RestoreOptions,
  { signal, screen }: Invocation,
): Promise<Source | undefined> {
  if (changes === undefined) return undefined;
  const { openSource } = await import("../source/open.ts");
  return await openSource({ path: changes }, { format: "auto", signal, stderr: screen });
}

function request(spec: string, { options, session, invocation }: Run, changes: Source | undefined): Request {
  const { project, volume, point } = parseVolumeSpec(spec);
  const knownPoint = options.changedSince ?? options.from;
  const { offset = 0, length } = options;
  return {
    ...{ project, volume, point, secrets: session.secrets },
    keepGoing: options.keepGoing === true,
    known: knownPoint === undefined ? undefined : { point: knownPoint, changes },
    trustCache: options.trustCache,
    part: options.offset === undefined && length === undefined ? undefined : { offset, length },
    dryRun: options.dryRun === true,
    verifyTarget: options.verifyTarget === true,
    openTarget: openTargetOf(options, invocation),
  };
}

function openTargetOf(options: RestoreOptions, { signal }: Invocation): Request["openTarget"] {
  const { to, head, dryRun, force } = options;
  return async ({ info, base, end }) => {
    if (options.format === "rbd-diff") {
      const { openRbdDiffTarget } = await import("../target/rbd_diff.ts");
      const toSnapshot = head === true ? undefined : snapshotFromJson(info.to_snapshot);
      const fromSnapshot = base === undefined ? undefined : snapshotFromJson(base.to_snapshot);
      if (base !== undefined && fromSnapshot === undefined) {
        throw new UsageError(`Cannot restore from "${options.from}": that backup is of no snapshot`);
      }
      const sizeBytes = info.size_bytes;
      return await openRbdDiffTarget(to, {
        ...{ sizeBytes, fromSnapshot, toSnapshot, signal },
        dryRun: dryRun === true,
      });
    }
    const { openTarget } = await import("../target/open.ts");
    const isPart = options.offset !== undefined || options.length !== undefined;
    return await openTarget(to, {
      sizeBytes: end,
      partFrom: isPart ? options.offset ?? 0 : undefined,
      readOnly: dryRun === true,
      force: force === true,
      signal,
    });
  };
}

/** One line for each range that could not be restored, then the error. */
function refuseDamage(
  { damaged }: RestoreReport,
  { spec, options, screen }: { spec: string; options: RestoreOptions; screen: Invocation["screen"] },
): void {
  if (damaged.length === 0) return;
  for (const { offset, length, reason, target } of merged(damaged)) {
    const left = target === "zeros" ? "zeros in their place" : "left as they were";
    screen.write(`damaged: offset ${offset}, ${length} bytes, ${left}: ${reason}\n`);
  }
  const chunks = damaged.length === 1 ? "1 chunk is" : `${damaged.length} chunks are`;
  const state = `${chunks} damaged, "${targetName(options.to)}" is not complete`;
  throw new VarveError("damage", `Cannot restore all of "${spec}": ${state}`);
}

/** Ranges that follow each other and are damaged for the same reason, such as those of a page, as one. */
function merged(damaged: RestoreReport["damaged"]): RestoreReport["damaged"] {
  const ranges: RestoreReport["damaged"] = [];
  for (const range of damaged) {
    const last = ranges.at(-1);
    const goesOn = last?.reason === range.reason && last.offset + last.length === range.offset;
    if (last !== undefined && goesOn) last.length += range.length;
    else ranges.push({ ...range });
  }
  return ranges;
}

function targetName(to: string): string {
  return to === "-" ? "standard output" : to;
}

function summary(spec: string, { chunks, dry_run, ...report }: RestoreReport): string {
  const verb = dry_run === undefined ? "written" : "to write";
  const head = `${spec} (${report.backup}): ${formatSize(report.size_bytes)}, ${chunks.total} chunks: ` +
    `${chunks.matched} were there, ${chunks.written} ${verb}, ${chunks.zero} zero\n${report.reason}\n`;
  const read = `read ${formatSize(report.read_bytes)} of the target`;
  if (dry_run !== undefined) {
    return `${head}${read}; would fetch and write at most ${
      formatSize(dry_run.download_bytes_max)
    }; nothing was changed\n`;
  }
  const verified = report.verified_bytes > 0 ? `, read back ${formatSize(report.verified_bytes)}` : "";
  return `${head}${read}, fetched ${formatSize(report.downloaded_bytes)}, wrote ${
    formatSize(report.written_bytes)
  }` +
    `${verified} in ${formatDuration(report.duration_s)}\n`;
}

function progressState(
  { sizeBytes, doneBytes, downloadedBytes, writtenBytes }: RestoreProgress,
): ProgressState {
  const notes = [`fetched ${formatSize(downloadedBytes)}`, `written ${formatSize(writtenBytes)}`];
  return { doneBytes, sizeBytes, workBytes: doneBytes, notes };
}
