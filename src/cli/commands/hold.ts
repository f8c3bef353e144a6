/** `varve hold` and `varve release`: which restore points cannot be forgotten. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { HoldOptions, HoldReport } from "../../engine/retention/hold.ts";
import { UsageError } from "../../errors.ts";
import { MAX_REASON_BYTES } from "../../format/limits.ts";
import { parseVolumeSpec, quote } from "../../format/names.ts";
import { type Session, withSession } from "../context.ts";
import { printJson, printRemark, printStatus, reportDone } from "../terminal/output.ts";
import { examples, type GlobalOptions, type Invocation, POINT_FORMS, type Root } from "../root.ts";

const POINT = `PROJECT/VOLUME@POINT; POINT is ${POINT_FORMS}`;

export function addHold(program: Root, invocation: Invocation): void {
  program.command("hold")
    .description("Protect a restore point from varve forget.")
    .argument("<point>", POINT)
    .option("--reason <text>", "reason to display in varve show", readReason)
    .addHelpText(
      "after",
      examples([`varve hold acme/vm1@before-upgrade --reason "case 4711"`, "keep it until varve release"]),
    )
    .action(async (spec, _, command) => {
      const options = command.optsWithGlobals();
      const reason = options.reason ?? null;
      await run(spec, { options, invocation, verb: "held" }, async ({ store, context }, place) => {
        const { openRepository } = await import("../../project/repository.ts");
        const { hold } = await import("../../engine/retention/hold.ts");
        return await hold(await openRepository(store, context), { ...place, reason }, context);
      });
    });
}

function readReason(text: string): string {
  if (Buffer.byteLength(text) <= MAX_REASON_BYTES) return text;
  throw new InvalidArgumentError(`Expected at most ${MAX_REASON_BYTES} bytes.`);
}

export function addRelease(program: Root, invocation: Invocation): void {
  program.command("release")
    .description("Remove the hold from a restore point.")
    .argument("<point>", POINT)
    .addHelpText(
      "after",
      examples(["varve release acme/vm1@before-upgrade", "let the next varve forget delete it"]),
    )
    .action(async (spec, _, command) => {
      const options = command.optsWithGlobals();
      await run(spec, { options, invocation, verb: "released" }, async ({ store, context }, place) => {
        const { openRepository } = await import("../../project/repository.ts");
        const { release } = await import("../../engine/retention/hold.ts");
        return await release(await openRepository(store, context), place, context);
      });
    });
}

async function run(
  spec: string,
  { options, invocation, verb }: { options: GlobalOptions; invocation: Invocation; verb: string },
  work: (session: Session, place: HoldOptions) => Promise<HoldReport>,
): Promise<void> {
  const { project, volume, point } = parseVolumeSpec(spec);
  if (point === undefined) {
    throw new UsageError(
      `Cannot read ${quote(spec)} as a restore point: expected PROJECT/VOLUME@POINT`,
    );
  }
  const interrupted = "see varve list for whether it is held";
  await withSession({ options, invocation, interrupted }, async (session) => {
    const done = await work(session, { project, volume, point, secrets: session.secrets });
    const { screen } = invocation;
    if (options.json) reportDone(screen, () => printJson(done));
    const name = `${project}/${volume}@${done.backup}`;
    printStatus(`${name}: ${verb}\n`, { screen, options });
    const { former_reason: former } = done;
    if (former !== undefined) {
      printRemark(`${name}: the former reason was ${quote(former)}\n`, { screen, options });
    }
  });
}
