/** `varve backup`: a stream, device or producer becomes a restore point. */
import { isatty } from "node:tty";
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { BackupProgress, BackupReport } from "../engine/backup/backup.ts";
import { UsageError } from "../errors.ts";
import { parseVolumeSpec } from "../format/names.ts";
import type { SourceSpec } from "../source/open.ts";
import { type Session, withSession } from "./context.ts";
import { printJson, reportDone } from "./output.ts";
import { Progress, type ProgressState } from "./progress.ts";
import { collect, examples, type GlobalOptions, type Invocation, type Root } from "./root.ts";
import { formatDuration, formatSize } from "./units.ts";

const EXAMPLES = examples(
  ["rbd export-diff rbd/vm1@monday - | varve backup acme/vm1", "a full backup of a snapshot"],
  [
    "rbd export-diff --from-snap monday rbd/vm1@tuesday - | varve backup acme/vm1",
    "what changed since a snapshot that was backed up",
  ],
  [
    "varve backup acme/vm1 --exec -- rbd export-diff rbd/vm1@monday -",
    "the same, with the producer's exit code checked",
  ],
  ["varve backup acme/db /dev/vg0/db-snapshot --tag nightly", "a block device"],
  ["varve backup acme/disk disk.img --format raw", "any file or pipe, byte for byte"],
);

const STDIN_FD = 0;

interface BackupOptions extends GlobalOptions {
  format: "auto" | "raw";
  exec?: true | undefined;
  tag?: string[] | undefined;
}

export function addBackup(program: Root, invocation: Invocation): void {
  program.command("backup")
    .description("Back up a volume from a stream of rbd export-diff, a block device, or any bytes.")
    .argument("<volume>", "PROJECT/VOLUME")
    .argument(
      "[source...]",
      "a file, a block device, - for standard input (the default), or the command of --exec",
    )
    .addOption(
      new Option("--format <format>", "auto: an rbd stream, or a block device's bytes; raw: any bytes")
        .choices(["auto", "raw"]).default("auto" as const),
    )
    .option("--exec", "run the command after -- and back up what it prints, if it exits with 0")
    .option("--tag <tag>", "a word to find the backup by; may be repeated", collectTags)
    .addHelpText("after", EXAMPLES)
    .action(async (volume, source, _, command) => {
      const options = command.optsWithGlobals();
      const spec = readSource(source, options.exec === true);
      await withSession(
        { options, invocation, interrupted: "nothing was committed" },
        (session) => run(volume, { spec, options, session, invocation }),
      );
    });
}

/** A tag stands in tables, in lists with commas, and on command lines: it is one word. */
function collectTags(tag: string, tags?: string[]): string[] {
  if (/^[^\s,\p{C}]{1,100}$/u.test(tag)) return collect(tag, tags);
  throw new InvalidArgumentError("Expected one word, of at most 100 characters.");
}

interface Run {
  spec: SourceSpec;
  options: BackupOptions;
  session: Session;
  invocation: Invocation;
}

async function run(volumeSpec: string, { spec, options, session, invocation }: Run): Promise<void> {
  const { project, volume } = readVolume(volumeSpec);
  const { context, secrets } = session;
  const { screen, signal } = invocation;
  const { openRepository } = await import("../engine/repository.ts");
  const repository = await openRepository(session.store, context);
  const { openSource } = await import("../source/open.ts");
  const { backup } = await import("../engine/backup/backup.ts");
  const source = await openSource(spec, { format: options.format, signal, stderr: screen });
  const progress = new Progress(screen, { enabled: !options.json && !options.quiet });
  const onProgress = (state: BackupProgress) => progress.update(progressState(state));
  try {
    const request = { project, volume, source, secrets, tags: options.tag ?? [], onProgress };
    const reports = await backup(repository, request, context);
    progress.end(reports.map(summary).join(""));
    for (const report of reports) context.log.info(report, "backed up");
    if (options.json) reportDone(screen, () => printJson(reports.length === 1 ? reports[0] : reports));
  } finally {
    progress.end();
    await source.close();
  }
}

/** Two lines for people. */
function summary({ project, volume, backup, chunks, ...report }: BackupReport): string {
  const { changed, total } = chunks;
  const rate = Math.round(report.stream_bytes / Math.max(report.duration_s, 0.001));
  const took = `in ${formatDuration(report.duration_s)} (${formatSize(rate)}/s)`;
  return `${project}/${volume}@${backup}: ${
    formatSize(report.size_bytes)
  }, ${changed} of ${total} chunks came in: ` +
    `${chunks.new} new, ${chunks.reused} reused, ${chunks.zero} zero\n` +
    `read ${formatSize(report.stream_bytes)}, uploaded ${formatSize(report.uploaded_bytes)} ${took}\n`;
}

function progressState(
  { position, sizeBytes, streamBytes, newBytes, reusedBytes }: BackupProgress,
): ProgressState {
  const notes = [`new ${formatSize(newBytes)}`, `reused ${formatSize(reusedBytes)}`];
  return { doneBytes: position, sizeBytes, workBytes: streamBytes, notes };
}

function readVolume(text: string): { project: string; volume: string } {
  const { project, volume, point } = parseVolumeSpec(text);
  if (point === undefined) return { project, volume };
  throw new UsageError(
    `Cannot back up to "${text}": a new backup gets its name by itself, leave out what follows the @`,
  );
}

function readSource(words: string[], exec: boolean): SourceSpec {
  if (exec && words.length === 0) {
    throw new UsageError("Cannot run the producer: --exec wants a command after --");
  }
  if (exec) return { command: words };
  if (words.length > 1) {
    throw new UsageError(`Cannot back up "${words[1]}": one source at a time, or --exec for a command`);
  }
  const path = words[0] ?? "-";
  if (path !== "-" || !isatty(STDIN_FD)) return { path };
  throw new UsageError(
    "Cannot back up what is typed: pipe a stream in, name a file or device, or use --exec",
  );
}
