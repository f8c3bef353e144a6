/** `varve restore`: a restore point goes back onto a device, into a file, or to standard output. */
import { isatty } from "node:tty";
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type {
  RestoreOptions as Request,
  RestoreProgress,
  RestoreReport,
} from "../../engine/restore/restore.ts";
import { UsageError, VarveError } from "../../errors.ts";
import { parseVolumeSpec } from "../../format/names.ts";
import type { Source } from "../../sources/source.ts";
import { type Session, withSession } from "../context.ts";
import { isForPeople, print, printJson, printStatus, reportDone } from "../terminal/output.ts";
import { Progress, type ProgressState } from "../terminal/progress.ts";
import {
  type Destination,
  isPiped,
  NamedTarget,
  nameOf,
  readDestination,
  type TargetOptions,
} from "./restore_target.ts";
import { examples, type GlobalOptions, type Invocation, POINT_FORMS, type Root } from "../root.ts";
import { formatDuration, formatSize, parseSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  [
    "varve restore acme/vm1 --to vm1.img",
    "restore the latest restore point; in an existing file only the differences are written",
  ],
  ["varve restore acme/vm1@before-upgrade --to /dev/rbd0", "restore a snapshot to a device"],
  [
    "varve restore acme/vm1@~1 --exec -- rbd import --no-progress - rbd/vm1-old",
    "restore the one before the latest to a new Ceph image",
  ],
  [
    "rbd export-diff --from-snap S2 rbd/vm1 - | " +
    "varve restore acme/vm1@S1 --to /dev/rbd0 --changed-since S2 --changes -",
    "roll a device back from snapshot S2 to S1, reading and writing only the differences",
  ],
  [
    "rbd snap rollback rbd/vm1@S2 && varve restore acme/vm1@S1 --format rbd-diff --from S2 " +
    "--exec -- rbd import-diff --no-progress - rbd/vm1",
    "roll an image back from a snapshot that it still has; examples/rbd-restore.sh adds checks",
  ],
);

const STDIN_FD = 0, STDOUT_FD = 1;

interface RestoreOptions extends GlobalOptions, TargetOptions {
  from?: string | undefined;
  changedSince?: string | undefined;
  changes?: string | undefined;
  trustCache: boolean;
  verifyTarget?: true | undefined;
  keepGoing?: true | undefined;
}

export function addRestore(program: Root, invocation: Invocation): void {
  program.command("restore")
    .description("Restore a volume. Only data that differs on the target is downloaded.")
    .argument("<point>", `PROJECT/VOLUME[@POINT]; POINT is ${POINT_FORMS}`)
    .argument("[command...]", "command for --exec")
    .optionsGroup("Target:")
    .option("--to <path>", "restore to a block device, a file, or - for standard output")
    .option("--exec", "run the command after -- with the volume as its input; kill it if the restore fails")
    .addOption(
      new Option("--format <format>", "raw: the volume's bytes; rbd-diff: a stream for rbd import-diff")
        .choices(["raw", "rbd-diff"]).default("raw" as const),
    )
    .option("--resize", "truncate a file that is larger than the volume")
    .option("--force", "write to a device or file in use; with rbd-diff, overwrite a file")
    .optionsGroup("Differential restore:")
    .option("--from <point>", "with rbd-diff: restore point whose snapshot the image still has")
    .option("--head", "with rbd-diff: do not create the snapshot of the restore point on the image")
    .option("--changed-since <point>", "restore point that the target still matches, except for --changes")
    .option(
      "--changes <file>",
      "output of rbd export-diff --from-snap with that snapshot, or - for standard input",
    )
    .optionsGroup("Partial restore:")
    .option("--offset <bytes>", "start at this offset of the volume", readSize)
    .option("--length <bytes>", "restore this many bytes (default: up to the end)", readSize)
    .option("--keep-going", "continue past damaged chunks and list them")
    .optionsGroup("Safety:")
    .option("--dry-run", "estimate how much would be downloaded and written, without writing")
    .option("--no-trust-cache", "always read the target file, even if it looks unchanged")
    .option("--verify-target", "read the device back afterwards and compare it")
    .addHelpText("after", EXAMPLES)
    .action(async (point, words, _, command) => {
      const options = command.optsWithGlobals();
      const destination = readDestination(options, words);
      assertOptions(options, destination);
      const interrupted = interruption(destination, options);
      await withSession(
        { options, invocation, interrupted },
        (session) => run(point, { destination, options, session, invocation }),
      );
    });
}

/** What Ctrl-C leaves, and whether the same command can go on from there. */
function interruption(destination: Destination, { dryRun }: RestoreOptions): string {
  if (dryRun === true) return "nothing was changed";
  const state = `"${nameOf(destination)}" is incomplete`;
  const isResumed = "path" in destination && !isPiped(destination);
  return isResumed ? `${state}; run the same command again to resume` : state;
}

function readSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError("Expected a number of bytes, such as 4096 or 4M.");
  return bytes;
}

function assertOptions(options: RestoreOptions, destination: Destination): void {
  if (options.json === true && isPiped(destination)) {
    throw new UsageError("Cannot print JSON: the volume is written to standard output; remove --json");
  }
  const refuse = (condition: boolean, state: string) => {
    if (condition) throw new UsageError(`Cannot restore: ${state}`);
  };
  const isDiff = options.format === "rbd-diff";
  refuse(
    !isDiff && (options.from !== undefined || options.head === true),
    "--from and --head need --format rbd-diff",
  );
  refuse(
    (options.changes === undefined) !== (options.changedSince === undefined),
    "--changed-since and --changes need each other",
  );
  refuse(isDiff && options.changes !== undefined, "--changes cannot be used with --format rbd-diff");
  refuse(
    isDiff && (options.offset !== undefined || options.length !== undefined),
    "--offset and --length cannot be used with --format rbd-diff",
  );
  refuse(
    options.changes === "-" && isatty(STDIN_FD),
    "--changes - needs a stream on standard input, which is a terminal",
  );
  refuse(
    isPiped(destination) && options.dryRun !== true && isatty(STDOUT_FD),
    "standard output is a terminal; redirect it, or name a file or device",
  );
  refuse(
    options.verifyTarget === true && (isDiff || isPiped(destination) || "command" in destination),
    "--verify-target needs a device or a raw file, which can be read back",
  );
}

interface Run {
  destination: Destination;
  options: RestoreOptions;
  session: Session;
  invocation: Invocation;
}

/** What was restored: with problems on the way it may be an older point than the one that was meant. */
async function run(spec: string, { destination, options, session, invocation }: Run): Promise<string> {
  const { context, store } = session;
  const { screen } = invocation;
  const { openRepository } = await import("../../project/repository.ts");
  const { restore } = await import("../../engine/restore/restore.ts");
  const repository = await openRepository(store, context);
  const progress = new Progress(screen, { enabled: isForPeople(options) });
  const changes = await openChanges(options, invocation);
  const target = new NamedTarget(destination, { options, invocation, repositoryUrl: store.url });
  try {
    const report = await restore(repository, {
      ...request(spec, { options, session }, changes),
      openTarget: (wanted) => target.open(wanted),
      onProgress: (state: RestoreProgress) => progress.update(progressState(state)),
    }, context).catch((error) => {
      throw target.explain(error);
    });
    progress.end();
    if (options.dryRun !== true) {
      if (report.damaged.length === 0) printStatus(summary(spec, report), { screen, options });
    } else if (isForPeople(options) && !isPiped(destination)) print(summary(spec, report));
    context.log.info(report, "restored");
    if (options.json && options.dryRun) printJson(report);
    else if (options.json) reportDone(screen, () => printJson(report));
    assertUndamaged(report, { spec, destination, screen });
    const { project, volume } = parseVolumeSpec(spec);
    const verb = options.dryRun === true ? "compared" : "restored";
    return `"${project}/${volume}@${report.backup}" was ${verb}`;
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
  const { openSource } = await import("../../sources/open.ts");
  return await openSource({ path: changes }, { format: "auto", signal, stderr: screen });
}

function request(
  spec: string,
  { options, session }: Pick<Run, "options" | "session">,
  changes: Source | undefined,
): Omit<Request, "openTarget"> {
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
  };
}

/** One line for each range that could not be restored, then the error. */
function assertUndamaged(
  { damaged }: RestoreReport,
  { spec, destination, screen }: { spec: string; destination: Destination; screen: Invocation["screen"] },
): void {
  if (damaged.length === 0) return;
  for (const { offset, length, reason, target } of merged(damaged)) {
    const left = target === "zeros" ? "zeros in their place" : "left as they were";
    screen.write(`damaged: offset ${offset}, ${length} bytes, ${left}: ${reason}\n`);
  }
  const chunks = damaged.length === 1 ? "1 chunk is" : `${damaged.length} chunks are`;
  const state = `${chunks} damaged; "${nameOf(destination)}" is incomplete`;
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
  return { done: doneBytes, total: sizeBytes, notes };
}
