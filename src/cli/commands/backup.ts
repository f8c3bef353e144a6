/** `varve backup`: a stream, device or producer becomes a restore point. */
import { isatty } from "node:tty";
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { BackupReport } from "../../engine/backup/backup.ts";
import type { BackupProgress } from "../../engine/backup/backup_run.ts";
import { UsageError } from "../../errors.ts";
import { MAX_TAGS } from "../../format/limits.ts";
import { parseVolumeSpec } from "../../format/names.ts";
import { counted } from "../../util/counted.ts";
import { isSourceId, MAX_SOURCE_ID_CHARS, type SourceIds } from "../../format/source_ids.ts";
import { identified } from "../../sources/identified.ts";
import { isRbdSpec, type RbdSpec } from "../../rbd/spec.ts";
import { sourceOf, type SourceSpec } from "../../sources/source_spec.ts";
import { type Session, withSession } from "../context.ts";
import { isForPeople, printJson, printStatus, reportDone } from "../terminal/output.ts";
import { chunkCounts } from "./point_page.ts";
import { Progress, type ProgressState } from "../terminal/progress.ts";
import { collect, examples, type GlobalOptions, type Invocation, type Root } from "../root.ts";
import { readShare, type Share } from "../sample.ts";
import { formatDuration, formatSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  [
    "varve backup acme/vm1 rbd:rbd/vm1",
    "back up a Ceph image: snapshot it, upload the changes since the last backup",
  ],
  ["varve backup acme/vm1 rbd:rbd/vm1@before-upgrade", "back up an existing snapshot and keep it"],
  [
    "varve backup acme/vm1 rbd:rbd/vm1 --check-sample 1/1000",
    "also compare 0.1% of the unchanged chunks with the image",
  ],
  ["varve backup acme/db /dev/vg0/db-snapshot --tag nightly", "back up a block device"],
  ["varve backup acme/disk disk.img --format raw", "back up any file, byte for byte"],
  [
    "varve backup acme/vm1 --exec -- rbd export-diff --no-progress --from-snap S1 rbd/vm1@S2 -",
    "back up the output of a command if it succeeds",
  ],
  [
    "rbd export-diff --no-progress rbd/vm1@S1 - | varve backup acme/vm1",
    "back up a stream from standard input",
  ],
);

const STDIN_FD = 0;

interface BackupOptions extends GlobalOptions {
  format: "auto" | "raw";
  exec?: true | undefined;
  tag?: string[] | undefined;
  checkSample?: Share | undefined;
  full?: true | undefined;
  base?: string | undefined;
  sourceId?: string | undefined;
  sourceSnapshotId?: string | undefined;
  fromSnapshotId?: string | undefined;
}

export function addBackup(program: Root, invocation: Invocation): void {
  program.command("backup")
    .description(
      "Back up a volume from a Ceph image, a block device, a file or a stream.",
    )
    .argument("<volume>", "PROJECT/VOLUME")
    .argument(
      "[source...]",
      "rbd:POOL[/NAMESPACE]/IMAGE[@SNAP], a block device, a file, - for standard input (default), or the command for --exec",
    )
    .optionsGroup("Source:")
    .addOption(
      new Option("--format <format>", "auto: an rbd stream or a block device; raw: any bytes")
        .choices(["auto", "raw"]).default("auto" as const),
    )
    .option("--exec", "run the command after -- and back up its output, provided it exits with 0")
    .optionsGroup("Ceph images (rbd:…):")
    .option("--full", "back up the whole image even if an incremental backup is possible")
    .option(
      "--check-sample <part>",
      "also compare this share of the unchanged chunks with the image, e.g. 1/1000 or 5%",
      readShare,
    )
    .optionsGroup("Streams and files:")
    .option("--base <point>", "restore point that the stream starts at, if its snapshot name is ambiguous")
    .option("--source-id <id>", "id of the image or device; bases with another id are not used", readId)
    .option("--source-snapshot-id <id>", "id of the snapshot that the stream ends at", readId)
    .option(
      "--from-snapshot-id <id>",
      "id of the snapshot that the stream starts at; must match the base",
      readId,
    )
    .optionsGroup("Restore point:")
    .option("--tag <tag>", "add a tag (one word); may be repeated", collectTags)
    .addHelpText("after", EXAMPLES)
    .action(async (volume, source, _, command) => {
      const options = command.optsWithGlobals();
      const spec = readSource(source, options);
      await withSession(
        { options, invocation, interrupted: "nothing was committed" },
        (session) => run(volume, { spec, options, session, invocation }),
      );
    });
}

function readId(text: string): string {
  if (isSourceId(text)) return text;
  throw new InvalidArgumentError(`Expected one word of at most ${MAX_SOURCE_ID_CHARS} characters.`);
}

/** A tag stands in tables, in lists with commas, and on command lines: it is one word. */
function collectTags(tag: string, tags?: string[]): string[] {
  if (!/^[^\s,\p{C}]{1,100}$/u.test(tag)) {
    throw new InvalidArgumentError("Expected one word of at most 100 characters.");
  }
  if (tags !== undefined && tags.length >= MAX_TAGS) {
    throw new InvalidArgumentError(`A restore point has at most ${MAX_TAGS} tags.`);
  }
  return collect(tag, tags);
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
  const { openRepository } = await import("../../project/repository.ts");
  const repository = await openRepository(session.store, context);
  const { openSource } = await import("../../sources/open.ts");
  const { backup } = await import("../../engine/backup/backup.ts");
  const warn = (line: string) => context.log.warn({}, line);
  const opened = await openSource(spec, { format: options.format, signal, stderr: screen, warn });
  const source = "image" in spec ? opened : identified(opened, idsOf(options));
  const progress = new Progress(screen, { enabled: isForPeople(options) });
  const onProgress = (state: BackupProgress) => progress.update(progressState(state));
  try {
    const { tag: tags = [], base } = options;
    const checkSample = options.checkSample && { ...options.checkSample, random: Math.random };
    const onCommitted = (reports: BackupReport[]) => {
      progress.end();
      printStatus(reports.map(summary).join(""), { screen, options });
      for (const report of reports) context.log.info(report, "backed up");
      if (options.json) reportDone(screen, () => printJson(reports.length === 1 ? reports[0] : reports));
    };
    const request = { project, volume, source, secrets, tags, base, checkSample, onProgress, onCommitted };
    await backup(repository, request, context);
  } finally {
    progress.end();
    await source.close();
  }
}

/** Two lines for people, and one of what was compared beside it. */
function summary({ project, volume, backup, chunks, checked_chunks, ...report }: BackupReport): string {
  const { changed, total } = chunks;
  const rate = Math.round(report.stream_bytes / Math.max(report.duration_s, 0.001));
  const took = `in ${formatDuration(report.duration_s)} (${formatSize(rate)}/s)`;
  return `${project}/${volume}@${backup}: ${formatSize(report.size_bytes)}, ${changed} of ${
    counted(total, "chunk")
  } read: ${chunkCounts(chunks)}\n` +
    `read ${formatSize(report.stream_bytes)}, uploaded ${formatSize(report.uploaded_bytes)} ${took}\n` +
    (checked_chunks === 0 ? "" : `compared ${counted(checked_chunks, "other chunk")} with the source\n`);
}

function progressState(
  { position, sizeBytes, streamBytes, newBytes, reusedBytes }: BackupProgress,
): ProgressState {
  const notes = [`new ${formatSize(newBytes)}`, `reused ${formatSize(reusedBytes)}`];
  return { done: position, total: sizeBytes, workBytes: streamBytes, notes };
}

function readVolume(text: string): { project: string; volume: string } {
  if (isRbdSpec(text)) {
    throw new UsageError(
      `Cannot back up to "${text}": that is an image; the volume comes first, as in "varve backup PROJECT/VOLUME ${text}"`,
    );
  }
  const { project, volume, point } = parseVolumeSpec(text);
  if (point === undefined) return { project, volume };
  throw new UsageError(
    `Cannot back up to "${text}": restore points are named automatically; remove the @ part`,
  );
}

function idsOf({ sourceId, sourceSnapshotId, fromSnapshotId }: BackupOptions): SourceIds {
  return { source_id: sourceId, source_snapshot_id: sourceSnapshotId, from_snapshot_id: fromSnapshotId };
}

function readSource(words: string[], options: BackupOptions): SourceSpec {
  if (options.exec && words.length === 0) {
    throw new UsageError("Cannot back up: --exec needs a command after --");
  }
  if (!options.exec && words.length > 1) {
    throw new UsageError(
      `Cannot back up "${words[1]}": only one source is allowed; use --exec to run a command`,
    );
  }
  const [word = "-"] = words;
  const spec = options.exec ? { command: words } : sourceOf(word);
  if ("image" in spec) return readImage(spec, { word, options });
  if (options.full) {
    throw new UsageError("Cannot back up in full: --full needs a Ceph image (rbd:POOL/IMAGE)");
  }
  if (word !== "-" || options.exec || !isatty(STDIN_FD)) return spec;
  throw new UsageError(
    "Cannot read the backup from a terminal: pipe a stream in, name an image, file or device, or use --exec",
  );
}

/** What options say of a stream, the cluster itself says of an image. */
function readImage(
  { image }: { image: RbdSpec },
  { word, options }: { word: string; options: BackupOptions },
): SourceSpec {
  const ofStreams = {
    "--base": options.base,
    "--source-id": options.sourceId,
    "--source-snapshot-id": options.sourceSnapshotId,
    "--from-snapshot-id": options.fromSnapshotId,
    "--format raw": options.format === "raw" ? true : undefined,
  };
  const given = Object.entries(ofStreams).find(([, value]) => value !== undefined);
  if (given === undefined) return { image, isFull: options.full };
  throw new UsageError(
    `Cannot back up "${word}" with ${given[0]}: that option is for streams and files; remove it`,
  );
}
