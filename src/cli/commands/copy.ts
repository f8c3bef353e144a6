/** `varve copy`: restore points into a second repository. */
import type { CopyReport } from "../../engine/copy/copy.ts";
import type { CopyProgress } from "../../volume/copy_points.ts";
import type { Context } from "../../context.ts";
import { VarveError } from "../../errors.ts";
import { assertProjectName, parseVolumeSpec } from "../../format/names.ts";
import type { Store } from "../../store/store.ts";
import { openOtherStore, type Session, withSession } from "../context.ts";
import { isForPeople, printJson, printStatus, reportDone } from "../terminal/output.ts";
import { Progress, type ProgressState } from "../terminal/progress.ts";
import { examples, type GlobalOptions, type Invocation, type Root } from "../root.ts";
import { counted } from "../../util/counted.ts";
import { formatDuration, formatSize } from "../terminal/units.ts";

const EXAMPLES = examples(
  [
    "varve copy acme --to s3://offsite/backups",
    "copy all restore points of a project that are missing there",
  ],
  ["varve copy acme/vm1 --to /mnt/usb/varve", "copy one volume to a disk"],
  ["varve copy acme/vm1@latest --to /mnt/usb/varve", "copy only its latest restore point"],
);

interface CopyOptions extends GlobalOptions {
  to: string;
  toS3Endpoint?: string | undefined;
  toProfile?: string | undefined;
}

interface Scope {
  project: string;
  volume?: string;
  point?: string | undefined;
}

export function addCopy(program: Root, invocation: Invocation): void {
  program.command("copy")
    .description("Copy restore points to a second repository. Only missing data is transferred.")
    .argument("<spec>", "PROJECT, PROJECT/VOLUME or PROJECT/VOLUME@POINT")
    .requiredOption("--to <url>", "second repository: s3://BUCKET/PREFIX or a directory")
    .option("--to-s3-endpoint <url>", "S3 endpoint URL of the second repository (default: as for the first)")
    .option("--to-profile <name>", "AWS profile for the second repository (default: as for the first)")
    .addHelpText("after", EXAMPLES)
    .action(async (spec, _, command) => {
      const options = command.optsWithGlobals();
      const scope = readScope(spec);
      await withSession(
        { options, invocation, interrupted: "some objects were copied; run it again to copy the rest" },
        (session) => run(scope, { options, session, invocation }),
      );
    });
}

function readScope(spec: string): Scope {
  if (spec.includes("/")) return parseVolumeSpec(spec);
  assertProjectName(spec);
  return { project: spec };
}

async function run(
  scope: Scope,
  { options, session, invocation }: { options: CopyOptions; session: Session; invocation: Invocation },
): Promise<void> {
  const { context, store, secrets } = session;
  const { openRepository } = await import("../../project/repository.ts");
  const { copy } = await import("../../engine/copy/copy.ts");
  const progress = new Progress(invocation.screen, { enabled: isForPeople(options) });
  const to = await openSecond(options, context);
  try {
    const copied = await copy(await openRepository(store, context), {
      ...{ ...scope, secrets, to },
      onProgress: (state) => progress.update(progressState(state)),
    }, context);
    progress.end();
    printStatus(summary(copied), { screen: invocation.screen, options });
    context.log.info(copied, "copied");
    if (options.json) reportDone(invocation.screen, () => printJson(copied));
    assertUndamaged(copied, invocation);
  } finally {
    progress.end();
    await to.close();
  }
}

/** Another account is seldom on the first one's server: with a profile, the endpoint is the profile's. */
async function openSecond(options: CopyOptions, context: Context): Promise<Store> {
  const { to, toS3Endpoint, toProfile: profile, s3Endpoint } = options;
  const endpoint = toS3Endpoint ?? (profile === undefined ? s3Endpoint : undefined);
  return await openOtherStore(to, {
    options,
    context,
    origin: "--to",
    s3: { endpoint, profile },
  });
}

function progressState({ point, points, sizeBytes, doneBytes, copiedBytes }: CopyProgress): ProgressState {
  const done = point - 1 + (sizeBytes === 0 ? 0 : doneBytes / sizeBytes);
  const notes = [`copied ${formatSize(copiedBytes)}`];
  return { done, total: points, unit: "point", workBytes: copiedBytes, notes };
}

function summary({ project, to, points, objects, copied_bytes, duration_s }: CopyReport): string {
  return `${project} to ${to}: ${counted(points.copied, "point")} copied, ${points.present} already there; ` +
    `${counted(objects.copied, "object")} (${
      formatSize(copied_bytes)
    }) copied, ${objects.present} already there, ` +
    `in ${formatDuration(duration_s)}\n`;
}

/** One line for each point that was left out, then the error. */
function assertUndamaged({ project, damaged }: CopyReport, { screen }: Invocation): void {
  for (const { volume, backup, reason } of damaged) {
    screen.write(`not copied: ${project}/${volume}@${backup}: ${reason}\n`);
  }
  if (damaged.length === 0) return;
  const points = damaged.length === 1 ? "1 restore point is" : `${damaged.length} restore points are`;
  throw new VarveError("damage", `Cannot copy all of "${project}": ${points} damaged`);
}
