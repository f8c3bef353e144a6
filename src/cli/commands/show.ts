/** `varve show`: everything that is known of one backup, or one field of it for a script. */
import { isatty } from "node:tty";
import type { BackupDetails } from "../../project/catalog.ts";
import { escapeLine, UsageError } from "../../errors.ts";
import { parseVolumeSpec } from "../../format/names.ts";
import { snapshotFromJson, type SnapshotJson, snapshotText } from "../../format/snapshot_name.ts";
import { withSession } from "../context.ts";
import { print, printBytes, printJson } from "../terminal/output.ts";
import { examples, type Invocation, type Root } from "../root.ts";

const STDOUT_FD = 1;

const EXAMPLES = examples(
  ["varve show acme/vm1", "the latest backup"],
  ["varve show acme/vm1@~1 --json", "the one before it, for a script"],
  ["varve show acme/vm1 --field to_snapshot", "the last snapshot that was backed up"],
);

export function addShow(program: Root, invocation: Invocation): void {
  program.command("show")
    .description("Show one backup.")
    .argument(
      "<point>",
      "PROJECT/VOLUME[@POINT]; a POINT is latest, a backup, a snapshot (snap:NAME), ~N or a time",
    )
    .option(
      "--field <name>",
      "only the value of one field; a snapshot's name byte for byte, unless it goes to a terminal",
    )
    .addHelpText("after", EXAMPLES)
    .action(async (spec, _, command) => {
      const options = command.optsWithGlobals();
      const { project, volume, point } = parseVolumeSpec(spec);
      await withSession(
        { options, invocation, interrupted: "nothing was changed" },
        async ({ store, secrets, context }) => {
          const { openRepository } = await import("../../project/repository.ts");
          const { showBackup } = await import("../../project/catalog.ts");
          const repository = await openRepository(store, context);
          const details = await showBackup(repository, { project, volume, point, secrets }, context);
          const json = options.json === true;
          if (options.field !== undefined) printField(details, options.field, { json });
          else printDetails(details, { json });
        },
      );
    });
}

function printDetails({ raw: _, ...details }: BackupDetails, { json }: { json: boolean }): void {
  if (json) return printJson(details);
  const names = Object.keys(details) as (keyof typeof details)[];
  const width = Math.max(...names.map((name) => name.length));
  print(names.map((name) => `${name.padEnd(width)}  ${text(name, details[name])}`.trimEnd() + "\n").join(""));
}

/**
 * A line of its own; a snapshot's name as the bytes it has, but on a terminal, which they could steer. Nothing but the newline
 * where there is no value. The value as JSON with `json`, a snapshot's name as `varve show --json` has it.
 */
function printField({ raw, ...details }: BackupDetails, name: string, { json }: { json: boolean }): void {
  if (!json && (name === "from_snapshot" || name === "to_snapshot") && !isatty(STDOUT_FD)) {
    return printBytes(Buffer.concat([raw[name] ?? new Uint8Array(), Buffer.from("\n")]));
  }
  const value = Object.entries(details).find(([field]) => field === name);
  if (value !== undefined) return json ? printJson(value[1]) : print(`${text(name, value[1])}\n`);
  throw new UsageError(`Cannot show the field "${name}": there are ${Object.keys(details).join(", ")}`);
}

function text(name: string, value: unknown): string {
  if (name.endsWith("_snapshot")) {
    const snapshot = snapshotFromJson(value as SnapshotJson);
    return snapshot === undefined ? "" : snapshotText(snapshot);
  }
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : escapeLine(String(value));
}
