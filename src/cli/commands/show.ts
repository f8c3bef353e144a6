/** `varve show`: everything that is known of one backup, or one field of it for a script. */
import { isatty } from "node:tty";
import type { BackupDetails } from "../../project/catalog.ts";
import { escapeLine, UsageError } from "../../errors.ts";
import { parseVolumeSpec } from "../../format/names.ts";
import { snapshotFromJson, type SnapshotJson, snapshotText } from "../../format/snapshot_name.ts";
import { withSession } from "../context.ts";
import { print, printBytes, printJson } from "../terminal/output.ts";
import { pageLines } from "./point_page.ts";
import { examples, type Invocation, POINT_FORMS, type Root } from "../root.ts";

const STDOUT_FD = 1;

const EXAMPLES = examples(
  ["varve show acme/vm1", "show the latest restore point"],
  ["varve show acme/vm1@~1 --json", "show the one before it, for a script"],
  ["varve show acme/vm1 --field to_snapshot", "print the name of the last snapshot that was backed up"],
);

export function addShow(program: Root, invocation: Invocation): void {
  program.command("show")
    .description("Show the details of a restore point.")
    .argument(
      "<point>",
      `PROJECT/VOLUME[@POINT]; POINT is ${POINT_FORMS}`,
    )
    .option(
      "--field <name>",
      "print the value of one field only; snapshot names are not escaped unless on a terminal",
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
          else if (json) printJson(withoutRaw(details));
          else print(pageLines(details, context.clock.now()).map((line) => `${line}\n`).join(""));
        },
      );
    });
}

function withoutRaw({ raw: _, ...details }: BackupDetails): Omit<BackupDetails, "raw"> {
  return details;
}

/**
 * A line of its own; a snapshot's name as the bytes it has, but on a terminal, which they could steer. Nothing but the newline
 * where there is no value. The value as JSON with `json`, a snapshot's name as `varve show --json` has it.
 */
function printField(backup: BackupDetails, name: string, { json }: { json: boolean }): void {
  const { raw } = backup;
  const details = withoutRaw(backup);
  if (!json && (name === "from_snapshot" || name === "to_snapshot") && !isatty(STDOUT_FD)) {
    return printBytes(Buffer.concat([raw[name] ?? new Uint8Array(), Buffer.from("\n")]));
  }
  const value = Object.entries(details).find(([field]) => field === name);
  if (value !== undefined) return json ? printJson(value[1]) : print(`${text(name, value[1])}\n`);
  throw new UsageError(
    `Cannot show the field "${name}": it is unknown; the fields are ${Object.keys(details).join(", ")}`,
  );
}

function text(name: string, value: unknown): string {
  if (name.endsWith("_snapshot")) {
    const snapshot = snapshotFromJson(value as SnapshotJson);
    return snapshot === undefined ? "" : snapshotText(snapshot);
  }
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : escapeLine(String(value));
}
