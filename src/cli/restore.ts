/** `varve restore`: a restore point goes back onto a device, into a file, or to standard output. */
import type { RestoreProgress, RestoreReport } from "../engine/restore.ts";
import { UsageError, VarveError } from "../errors.ts";
import { parseVolumeSpec } from "../format/names.ts";
import { openTarget } from "../target/open.ts";
import { type Session, withSession } from "./context.ts";
import { printJson } from "./output.ts";
import { Progress, type ProgressState } from "./progress.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "./root.ts";
import { formatDuration, formatSize } from "./units.ts";

const EXAMPLES = examples(
  [
    "varve restore acme/vm1 --to vm1.img",
    "the latest backup; a file that exists is changed only where it differs",
  ],
  ["varve restore acme/vm1@monday --to /dev/rbd0", "the backup of a snapshot, onto a device"],
  ["varve restore acme/vm1@~1 --to - | rbd import - rbd/vm1-old", "the one before the latest, as a stream"],
);

interface RestoreOptions extends GlobalOptions {
  to: string;
  force?: true | undefined;
  keepGoing?: true | undefined;
}

export function addRestore(program: Root, invocation: Invocation): void {
  program.command("restore")
    .description("Restore a volume. Only what differs on the target is fetched.")
    .argument("<point>", "PROJECT/VOLUME[@POINT]; a POINT is latest, a backup, a snapshot, ~N or a time")
    .requiredOption("--to <path>", "a block device, a file, or - for standard output")
    .option("--force", "also write to a device that is mounted or in use")
    .option("--keep-going", "restore all that can be where some of it is damaged")
    .addHelpText("after", EXAMPLES)
    .action(async (point, _, command) => {
      const options = command.optsWithGlobals();
      if (options.json && options.to === "-") {
        throw new UsageError("Cannot print JSON: the volume goes to standard output");
      }
      const interrupted = `"${targetName(options.to)}" is not complete`;
      await withSession(
        { options, invocation, interrupted },
        (session) => run(point, { options, session, invocation }),
      );
    });
}

interface Run {
  options: RestoreOptions;
  session: Session;
  invocation: Invocation;
}

async function run(spec: string, { options, session, invocation }: Run): Promise<void> {
  const { project, volume, point = "latest" } = parseVolumeSpec(spec);
  const { context, secret, store } = session;
  const { screen, signal } = invocation;
  const { openRepository } = await import("../engine/repository.ts");
  const { restore } = await import("../engine/restore.ts");
  const repository = await openRepository(store, context);
  const progress = new Progress(screen, { enabled: !options.json && !options.quiet });
  try {
    const report = await restore(repository, {
      ...{ project, volume, point, secret, keepGoing: options.keepGoing === true },
      openTarget: (sizeBytes: number) =>
        openTarget(options.to, { sizeBytes, force: options.force === true, signal }),
      onProgress: (state: RestoreProgress) => progress.update(progressState(state)),
    }, context);
    progress.end(report.damaged.length === 0 ? summary(spec, report) : "");
    context.log.info(report, "restored");
    if (options.json) printJson(report);
    refuseDamage(report, { spec, options, screen });
  } finally {
    progress.end();
  }
}

/** One line for each position that could not be restored, then the error. */
function refuseDamage(
  { damaged }: RestoreReport,
  { spec, options, screen }: { spec: string; options: RestoreOptions; screen: Invocation["screen"] },
): void {
  if (damaged.length === 0) return;
  for (const { offset, length, key, reason } of damaged) {
    screen.write(`damaged: offset ${offset}, ${length} bytes, "${key}": ${reason}\n`);
  }
  const state = `${damaged.length} damaged, "${targetName(options.to)}" is not complete`;
  throw new VarveError("damage", `Cannot restore all of "${spec}": ${state}`);
}

function targetName(to: string): string {
  return to === "-" ? "standard output" : to;
}

function summary(spec: string, { chunks, ...report }: RestoreReport): string {
  return `${spec} (${report.backup}): ${formatSize(report.size_bytes)}, ${chunks.total} chunks: ` +
    `${chunks.matched} were there, ${chunks.written} written, ${chunks.zero} zero\n` +
    `fetched ${formatSize(report.downloaded_bytes)}, wrote ${formatSize(report.written_bytes)} ` +
    `in ${formatDuration(report.duration_s)}\n`;
}

function progressState(
  { sizeBytes, doneBytes, downloadedBytes, writtenBytes }: RestoreProgress,
): ProgressState {
  const notes = [`fetched ${formatSize(downloadedBytes)}`, `written ${formatSize(writtenBytes)}`];
  return { doneBytes, sizeBytes, workBytes: doneBytes, notes };
}
