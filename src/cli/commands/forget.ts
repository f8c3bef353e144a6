/** `varve forget`: drops the restore points that a policy does not keep, or a named one. */
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { ForgetRow } from "../../engine/retention/forget_plan.ts";
import { counted } from "../../util/counted.ts";
import { escapeControls, UsageError, VarveError } from "../../errors.ts";
import { assertProjectName, parseVolumeSpec, quote } from "../../format/names.ts";
import { assertPolicy, type RetentionPolicy } from "../../engine/retention/policy.ts";
import { type Session, withSession } from "../context.ts";
import { printJson, printTable, reportDone } from "../terminal/output.ts";
import { collect, examples, type GlobalOptions, type Invocation, readCount, type Root } from "../root.ts";
import type { Screen } from "../terminal/screen.ts";
import { parseDuration } from "../terminal/units.ts";

const EXAMPLES = examples(
  [
    "varve forget acme --keep-daily 14 --keep-weekly 8 --keep-monthly 12 --dry-run",
    "show what would be kept and deleted in each volume",
  ],
  ["varve forget acme/vm1 --keep-last 30", "keep the last 30 restore points of a volume"],
  [
    "varve forget acme/vm1 --keep-within 30d --keep-tag release",
    "keep the last 30 days and everything with a tag",
  ],
  ["varve forget acme/vm1@before-upgrade", "forget one restore point"],
  [
    "varve forget acme --keep-daily 14; varve gc acme",
    "for cron: free the space, too, even if one volume was refused",
  ],
);

interface ForgetFlags extends GlobalOptions {
  keepLast?: number | undefined;
  keepHourly?: number | undefined;
  keepDaily?: number | undefined;
  keepWeekly?: number | undefined;
  keepMonthly?: number | undefined;
  keepYearly?: number | undefined;
  keepWithin?: number | undefined;
  keepTag?: string[] | undefined;
  timeZone: string;
  maxDrop: number;
  force?: true | undefined;
  dryRun?: true | undefined;
}

export function addForget(program: Root, invocation: Invocation): void {
  program.command("forget")
    .description("Remove restore points by a policy or by name. Run varve gc to free the space.")
    .argument("<name>", "PROJECT or PROJECT/VOLUME with --keep options, or PROJECT/VOLUME@POINT")
    .optionsGroup("Policy:")
    .option("--keep-last <count>", "keep the last COUNT restore points", readCount(1))
    .option(
      "--keep-hourly <count>",
      "keep the last one of each of the last COUNT hours that have any",
      readCount(1),
    )
    .option("--keep-daily <count>", "the same for days", readCount(1))
    .option("--keep-weekly <count>", "the same for weeks, which start on Monday", readCount(1))
    .option("--keep-monthly <count>", "the same for months", readCount(1))
    .option("--keep-yearly <count>", "the same for years", readCount(1))
    .option(
      "--keep-within <time>",
      "keep all that are no older than this, measured from the newest one, e.g. 12h or 30d",
      readAge,
    )
    .option("--keep-tag <tag>", "also keep all that have this tag; may be repeated", collect)
    .option("--time-zone <name>", "time zone for the hourly to yearly rules, e.g. Europe/Berlin", "UTC")
    .optionsGroup("Safety:")
    .addOption(
      new Option("--max-drop <percent>", "refuse to forget more than this share of a volume without --force")
        .argParser(readPercent).default(50, "50%"),
    )
    .option("--force", "forget more than --max-drop allows")
    .option("--dry-run", "show what would be kept, by which rule, and what would be forgotten")
    .addHelpText("after", EXAMPLES)
    .action(async (name, _, command) => {
      const options = command.optsWithGlobals();
      const target = readTarget(name, options);
      await withSession(
        { options, invocation, interrupted: "some restore points may be forgotten" },
        async (session) => {
          const rows = await run(target, { options, session });
          report(name, { rows, options, screen: invocation.screen });
        },
      );
    });
}

type Target =
  | { kind: "point"; project: string; volume: string; point: string }
  | { kind: "policy"; project: string; volume: string | undefined; policy: RetentionPolicy };

/** Reads all of the command line, before anything is opened. */
function readTarget(name: string, options: ForgetFlags): Target {
  const spec = name.includes("/") ? parseVolumeSpec(name) : undefined;
  const keeps = Object.keys(options).some((flag) => flag.startsWith("keep"));
  if (spec?.point !== undefined) {
    const { project, volume, point } = spec;
    if (!keeps) return { kind: "point", project, volume, point };
    throw new UsageError(
      `Cannot forget ${quote(name)}: a single restore point is forgotten by name; remove the --keep options`,
    );
  }
  const project = spec?.project ?? name;
  assertProjectName(project);
  const policy = readPolicy(options);
  assertPolicy(policy);
  return { kind: "policy", project, volume: spec?.volume, policy };
}

function readPolicy(options: ForgetFlags): RetentionPolicy {
  const { keepLast: last, keepHourly: hourly, keepDaily: daily } = options;
  const { keepWeekly: weekly, keepMonthly: monthly, keepYearly: yearly } = options;
  const counts = { last, hourly, daily, weekly, monthly, yearly };
  return { counts, withinMs: options.keepWithin, tags: options.keepTag ?? [] };
}

async function run(
  target: Target,
  { options, session }: { options: ForgetFlags; session: Session },
): Promise<ForgetRow[]> {
  const { openRepository } = await import("../../project/repository.ts");
  const { forget, forgetPoint } = await import("../../engine/retention/forget.ts");
  const { store, secrets, context } = session;
  const repository = await openRepository(store, context);
  const { dryRun = false, force = false, timeZone, maxDrop: maxDropPercent } = options;
  const common = { dryRun, secrets };
  if (target.kind === "point") return await forgetPoint(repository, { ...target, ...common }, context);
  return await forget(repository, { ...target, timeZone, maxDropPercent, force, ...common }, context);
}

/** What was done, or would be; then the error where not all of it was. */
function report(
  name: string,
  { rows, options, screen }: { rows: ForgetRow[]; options: ForgetFlags; screen: Screen },
): void {
  if (options.json && options.dryRun) printJson(rows);
  else if (options.json) reportDone(screen, () => printJson(rows));
  else if (options.dryRun) printTable(["VOLUME", "BACKUP", "TIME", "ACTION", "RULES"], rows.map(tableRow));
  if (!options.json && !options.quiet) screen.write(`${name}: ${summary(rows, options)}\n`);
  assertNoProblems(name, { rows, screen });
}

function tableRow(row: ForgetRow): string[] {
  const { project, volume, backup, time, rules } = row;
  return [`${project}/${volume}`, backup, time, actionOf(row), rules.join(", ")];
}

/** `refused`: it should go, and stays. */
function actionOf({ kept, rules, problem }: ForgetRow): "drop" | "refused" | "held" | "keep" {
  if (!kept) return problem === null ? "drop" : "refused";
  return rules.includes("held") ? "held" : "keep";
}

/** `3 of 5 points forgotten, 2 kept (1 held)`: each point is counted once, but for the held ones among those that are kept. */
function summary(rows: readonly ForgetRow[], { dryRun }: ForgetFlags): string {
  const count = (...actions: ReturnType<typeof actionOf>[]) =>
    rows.filter((row) => actions.includes(actionOf(row))).length;
  const verb = dryRun ? "would be forgotten" : "forgotten";
  const held = count("held") > 0 ? ` (${count("held")} held)` : "";
  const refused = count("refused") > 0 ? `, ${count("refused")} refused` : "";
  return `${count("drop")} of ${rows.length} points ${verb}, ${count("keep", "held")} kept${held}${refused}`;
}

/** One line for each volume and what is wrong with it, then the error. */
function assertNoProblems(name: string, { rows, screen }: { rows: ForgetRow[]; screen: Screen }): void {
  const staying = rows.filter(({ problem }) => problem !== null);
  if (staying.length === 0) return;
  const lines = Map.groupBy(staying, ({ project, volume, problem }) => `${project}/${volume}: ${problem}`);
  for (const [line, [row]] of lines) {
    screen.write(escapeControls(`${row!.kept ? "unreadable" : "refused"}: ${line}\n`));
  }
  const refused = staying.filter(({ kept }) => !kept).length;
  const [code, what] = refused === 0
    ? ["damage", `${counted(staying.length, "restore point")} cannot be read`] as const
    : [
      "failed",
      `${counted(refused, "expired restore point")} ${refused === 1 ? "was" : "were"} not deleted`,
    ] as const;
  throw new VarveError(code, `Cannot forget all of ${quote(name)}: ${what}`);
}

function readAge(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new InvalidArgumentError("Expected a duration such as 12h, 30d, 8w or 1y.");
}

function readPercent(text: string): number {
  const percent = /^\d{1,3}%?$/.test(text) ? parseInt(text) : 0;
  if (percent >= 1 && percent <= 100) return percent;
  throw new InvalidArgumentError("Expected a share from 1% to 100%.");
}
