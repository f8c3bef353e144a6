/** `varve forget`: drops the restore points that a policy does not keep, or a named one. */
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { ForgetRow } from "../../engine/retention/forget_plan.ts";
import { counted } from "../../util/counted.ts";
import { escapeControls, UsageError, VarveError } from "../../errors.ts";
import { assertProjectName, parseVolumeSpec, quote } from "../../format/names.ts";
import { assertPolicy, type RetentionPolicy } from "../../engine/retention/policy.ts";
import { type Session, withSession } from "../context.ts";
import { print, printJson, printStatus, printTable, reportDone } from "../terminal/output.ts";
import { distinctTimes } from "../terminal/point_times.ts";
import { shortId } from "../../format/backup_id.ts";
import { collect, examples, type GlobalOptions, type Invocation, readCount, type Root } from "../root.ts";
import type { Screen } from "../terminal/screen.ts";
import { formatTime, parseDuration } from "../../util/time.ts";

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
  const problems = escapeControls(problemLines(rows));
  const statement = [`${name}: ${summary(rows, options)}\n`, ...nextLines(rows, options)].join("");
  const isAnswer = options.dryRun === true && options.json !== true;
  if (options.json && options.dryRun) printJson(rows);
  else if (options.json) reportDone(screen, () => printJson(rows));
  if (isAnswer) printTable(["VOLUME", "TIME", "ID", "ACTION", "RULES"], tableRows(rows));
  if (isAnswer && !options.quiet) print(problems + statement);
  else {
    printStatus(statement, { screen, options });
    screen.write(problems);
  }
  assertNoProblems(name, rows);
}

function tableRows(rows: readonly ForgetRow[]): string[][] {
  return [...Map.groupBy(rows, ({ volume }) => volume).values()].flatMap((points) => {
    const timeOf = distinctTimes(points.map(({ time }) => time));
    return points.map((row) => {
      const time = timeOf(row.time) ?? formatTime(Date.parse(row.time), "second");
      return [`${row.project}/${row.volume}`, time, shortId(row.backup), actionOf(row), row.rules.join(", ")];
    });
  });
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
  return `${count("drop")} of ${counted(rows.length, "point")} ${verb}, ${
    count("keep", "held")
  } kept${held}${refused}`;
}

/** How to learn what that frees: how much only the dropped points need takes a walk over all of the project to tell. */
function nextLines(rows: readonly ForgetRow[], { dryRun }: ForgetFlags): string[] {
  const [first, ...others] = new Set(
    rows.filter((row) => actionOf(row) === "drop").map(({ project, volume }) => `${project}/${volume}`),
  );
  if (first === undefined) return [];
  const project = first.slice(0, first.indexOf("/"));
  if (!dryRun) return [`"varve gc ${project}" frees what only ${rows.length === 1 ? "it" : "they"} needed\n`];
  const rest = others.length === 0 ? "" : `, and so for ${counted(others.length, "other volume")}`;
  return [`"varve stats ${first}" shows what each point alone would free${rest}\n`];
}

/** One line for each volume and what is wrong with it. */
function problemLines(rows: readonly ForgetRow[]): string {
  const staying = rows.filter(({ problem }) => problem !== null);
  const lines = Map.groupBy(staying, ({ project, volume, problem }) => `${project}/${volume}: ${problem}`);
  return [...lines].map(([line, [row]]) => `${row!.kept ? "unreadable" : "refused"}: ${line}\n`).join("");
}

function assertNoProblems(name: string, rows: readonly ForgetRow[]): void {
  const staying = rows.filter(({ problem }) => problem !== null);
  if (staying.length === 0) return;
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
  const ms = parseDuration(text, "hdwy");
  if (ms !== undefined) return ms;
  throw new InvalidArgumentError("Expected a duration such as 12h, 30d, 8w or 1y.");
}

function readPercent(text: string): number {
  const percent = /^\d{1,3}%?$/.test(text) ? parseInt(text) : 0;
  if (percent >= 1 && percent <= 100) return percent;
  throw new InvalidArgumentError("Expected a share from 1% to 100%.");
}
