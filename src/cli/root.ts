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
  ["varve backup acme/vm1 rbd:rbd/vm1", "back up a Ceph image"],
  ["varve list acme", "list a project's restore points"],
  ["varve restore acme/vm1@2026-11-28 --to vm1.img", "restore the last one of a day to a file"],
  ["varve help backup", "show the help of one command"],
);

/** Errors and help are thrown as `CommanderError`; `program.ts` makes them `UsageError`. */
export function createRoot({ screen }: Invocation) {
  return new Command("varve")
    .description("Incremental, deduplicated, encrypted off-site backups of block volumes.")
    .version(`varve ${VERSION}`, "-V, --version", "print the version")
    .helpOption("-h, --help", "show this help")
    .optionsGroup("Repository:")
    .addOption(
      new Option(
        "--repo <url>",
        "s3://BUCKET/PREFIX or a directory (default: ~/.local/share/varve/repository)",
      )
        .env("VARVE_REPO"),
    )
    .option("--s3-endpoint <url>", "S3 endpoint URL (default: from the AWS configuration)")
    .addOption(
      new Option(
        "--s3-addressing <style>",
        "address buckets by path (HOST/BUCKET) or virtual host (BUCKET.HOST) (default: from the AWS profile, else auto)",
      )
        .choices(ADDRESSINGS).env("VARVE_S3_ADDRESSING"),
    )
    .addOption(
      new Option(
        "--s3-timeout <seconds>",
        `retry an S3 request after this long without progress (default: ${PROGRESS_LIMIT_MS / 1000})`,
      )
        .argParser(readCount(1)).env("VARVE_S3_TIMEOUT"),
    )
    .addOption(
      new Option(
        "--retry-for <time>",
        `keep retrying this long if the store does not answer, e.g. 90s or 2h (default: ${
          RETRY_FOR_MS / 60_000
        }m)`,
      )
        .argParser(readWait).env("VARVE_RETRY_FOR"),
    )
    .optionsGroup("Encryption:")
    .option(
      "--passphrase-file <path>",
      "read the passphrase from this file; may be repeated (env: VARVE_PASSPHRASE_FILE; VARVE_PASSPHRASE holds a passphrase itself)",
      collect,
    )
    .option(
      "--key-file <path>",
      "use the 32 random bytes in this file as the key; may be repeated (env: VARVE_KEY_FILE)",
      collect,
    )
    .optionsGroup("Transfer:")
    .addOption(
      new Option("--jobs <count>", `transfer this many chunks at a time (default: ${DEFAULT_JOBS})`)
        .argParser(readCount(1)).env("VARVE_JOBS"),
    )
    .addOption(
      new Option("--limit-rate <bytes>", "limit bandwidth, in bytes per second, e.g. 20M")
        .argParser(readRate).env("VARVE_LIMIT_RATE"),
    )
    .optionsGroup("Output:")
    .option("--json", "print the result as one JSON document")
    .option("-q, --quiet", "print only errors, no progress and no summary")
    .addOption(
      new Option("--log-level <level>", "log messages of this level and above (default: warn)")
        .choices(LOG_LEVELS).env("VARVE_LOG_LEVEL"),
    )
    .addOption(
      new Option("--log-format <format>", "log format (default: pretty; with --json, json)")
        .choices(LOG_FORMATS).env("VARVE_LOG_FORMAT"),
    )
    .optionsGroup("")
    .addHelpText("after", EXAMPLES)
    .addHelpText(
      "afterAll",
      ({ command }) => command.parent === null ? "" : "Global options: see varve --help",
    )
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
  throw new InvalidArgumentError("Expected a duration such as 90s, 15m or 2h.");
}

function readRate(text: string): number {
  const bytes = parseSize(text);
  if (bytes !== undefined && bytes > 0) return bytes;
  throw new InvalidArgumentError("Expected bytes per second, such as 500K or 20M.");
}

/** Collects the values of an option that may be repeated. */
export function collect(value: string, values: string[] = []): string[] {
  return [...values, value];
}

/** How a restore point is named after the `@`. */
export const POINT_FORMS = "latest, ~N (the Nth before it), an id, a snapshot (snap:NAME) or a time";

/** Examples at the end of a command's help, one `varve …` a line, with what it does. */
export function examples(...lines: [command: string, meaning: string][]): string {
  return `\nExamples:\n${lines.map(([command, meaning]) => `  # ${meaning}\n  ${command}\n`).join("")}`;
}
