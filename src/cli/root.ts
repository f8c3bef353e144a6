/** The program itself: its name, version and the options that every command takes. */
import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { Environment } from "./secrets.ts";
import { LOG_FORMATS, LOG_LEVELS } from "./log_options.ts";
import { RETRY_FOR_MS } from "../store/wrappers/retry.ts";
import { PROGRESS_LIMIT_MS } from "../store/progress_limit.ts";
import { ADDRESSINGS } from "../store/s3/addressing.ts";
import { DEFAULT_JOBS } from "../context.ts";
import { print } from "./terminal/output.ts";
import { parseDuration } from "../util/time.ts";
import { parseSize } from "./terminal/units.ts";
import type { Screen } from "./terminal/screen.ts";

/** Set by the build. */
declare const VARVE_VERSION: string | undefined;
export const VERSION = typeof VARVE_VERSION === "string" ? VARVE_VERSION : "(from source)";

/** What a command is given of the process that it runs in. */
export interface Invocation {
  env: Environment;
  screen: Screen;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
}

export type Root = ReturnType<typeof createRoot>;
export type GlobalOptions = ReturnType<Root["opts"]>;

const EXAMPLES = examples(
  ["varve backup acme/vm1 rbd:rbd/vm1", "back up an image of Ceph"],
  ["varve list acme", "what there is of a project"],
  ["varve restore acme/vm1@2026-11-28 --to vm1.img", "and back"],
  ["varve backup --help", "more of a command"],
);

/** Errors and help are thrown as `CommanderError`; `program.ts` makes them `UsageError`. */
export function createRoot({ screen }: Invocation) {
  return new Command("varve")
    .description("Incremental, deduplicated, off-site backups of block volumes.")
    .version(`varve ${VERSION}`, "-V, --version")
    .addOption(
      new Option(
        "--repo <url>",
        "the repository: s3://BUCKET/PREFIX or a directory (default: one in the user's data folder, if init made it)",
      )
        .env("VARVE_REPO"),
    )
    .option("--s3-endpoint <url>", "of an S3-compatible store; otherwise as the AWS settings say")
    .addOption(
      new Option(
        "--s3-addressing <style>",
        "where the bucket's name goes: path (HOST/BUCKET), virtual (BUCKET.HOST), or auto (default: as the AWS profile says, else auto)",
      )
        .choices(ADDRESSINGS).env("VARVE_S3_ADDRESSING"),
    )
    .addOption(
      new Option(
        "--s3-timeout <seconds>",
        `how long an S3 request may stand still before it is tried again (default: ${
          PROGRESS_LIMIT_MS / 1000
        })`,
      )
        .argParser(readCount(1)).env("VARVE_S3_TIMEOUT"),
    )
    .addOption(
      new Option(
        "--retry-for <time>",
        `how long to wait for a store that does not answer, like 90s or 2h (default: ${
          RETRY_FOR_MS / 60_000
        }m)`,
      )
        .argParser(readWait).env("VARVE_RETRY_FOR"),
    )
    .option(
      "--passphrase-file <path>",
      "holds the passphrase; may be repeated (env: VARVE_PASSPHRASE_FILE, or VARVE_PASSPHRASE itself)",
      collect,
    )
    .option(
      "--key-file <path>",
      "32 random bytes, instead of a passphrase; may be repeated (env: VARVE_KEY_FILE)",
      collect,
    )
    .addOption(
      new Option(
        "--jobs <count>",
        `chunks on their way to or from the store at once (default: ${DEFAULT_JOBS})`,
      )
        .argParser(readCount(1)).env("VARVE_JOBS"),
    )
    .addOption(
      new Option("--limit-rate <bytes>", "send and receive at most so much a second, like 20M")
        .argParser(readRate).env("VARVE_LIMIT_RATE"),
    )
    .option("--json", "print one JSON document")
    .option("-q, --quiet", "no progress, no summary, only errors")
    .addOption(
      new Option("--log-level <level>", "what to log (default: warn)")
        .choices(LOG_LEVELS).env("VARVE_LOG_LEVEL"),
    )
    .addOption(
      new Option("--log-format <format>", "how to log (default: pretty; with --json, json)")
        .choices(LOG_FORMATS).env("VARVE_LOG_FORMAT"),
    )
    .addHelpText("after", EXAMPLES)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: print, writeErr: (text) => screen.write(text), outputError: () => {} })
    .helpCommand(false)
    .exitOverride();
}

/** Reads an option's value: a whole number of at most five digits. */
export function readCount(least: number): (text: string) => number {
  return (text) => {
    if (/^\d{1,5}$/.test(text) && Number(text) >= least) return Number(text);
    throw new InvalidArgumentError(`Expected a whole number from ${least} to 99999.`);
  };
}

function readWait(text: string): number {
  const ms = parseDuration(text, "smh");
  if (ms !== undefined && ms > 0) return ms;
  throw new InvalidArgumentError("Expected a time like 90s, 15m or 2h.");
}

function readRate(text: string): number {
  const bytes = parseSize(text);
  if (bytes !== undefined && bytes > 0) return bytes;
  throw new InvalidArgumentError("Expected bytes a second, like 500K or 20M.");
}

/** Collects the values of an option that may be repeated. */
export function collect(value: string, values: string[] = []): string[] {
  return [...values, value];
}

/** Examples at the end of a command's help, one `varve …` a line, with what it does. */
export function examples(...lines: [command: string, meaning: string][]): string {
  return `\nExamples:\n${lines.map(([command, meaning]) => `  # ${meaning}\n  ${command}\n`).join("")}`;
}
