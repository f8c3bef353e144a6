/** What is said of a base that is not whole, or that an increment needs and cannot read. */
import { DamageError, isUnreadable, MissingError, type UnreadableError, VarveError } from "../../errors.ts";
import { isGone, type OpenManifest } from "../../project/manifests.ts";
import type { Context } from "../../context.ts";
import type { Project } from "../../project/project.ts";
import { counted } from "../../util/counted.ts";
import type { WrittenVolume } from "./volume_writer.ts";

/** The point is as whole as its base, and of what is known to be broken there a full backup stores again what it has. */
export function sayBroken(
  { info: { project, volume, backup } }: OpenManifest,
  { chunks, pages }: WrittenVolume["broken"],
  { log }: Context,
): void {
  if (chunks === 0 && pages === 0) return;
  const thing = `${project}/${volume}`;
  const what = [
    ...(chunks > 0 ? [counted(chunks, "damaged chunk")] : []),
    ...(pages > 0 ? [counted(pages, "unreadable page")] : []),
  ];
  const state = `the base "${thing}@${backup}" and the new restore point refer to ${what.join(" and ")}`;
  log.warn({}, `${state}; back up "${thing}" in full to repair them`);
}

/**
 * An object of the base that is needed and cannot be read is damage, and a full backup does without. But what a plan
 * condemned before this run began may be swept under it as soon as its base is forgotten: then that is the error.
 */
export async function explainUnreadable(
  project: Project,
  { error, base, volume }: { error: unknown; base: OpenManifest | undefined; volume: string },
  context: Context,
): Promise<never> {
  if (!isUnreadable(error)) throw error;
  const thing = `${project.name}/${volume}`;
  if (base === undefined) {
    throw asDamage(error, `Cannot back up "${thing}": data stored by this backup cannot be read`);
  }
  if (error instanceof MissingError && await isGone(project, base.info, context)) {
    throw new VarveError(
      "conflict",
      `Cannot back up "${thing}": its base was forgotten while it was running; retry`,
      { cause: error },
    );
  }
  const state = `an object of the base "${thing}@${base.info.backup}" cannot be read`;
  const advice = `back up in full, or run "varve repair ${project.name}"`;
  throw asDamage(error, `Cannot back up "${thing}": ${state}; ${advice}`);
}

function asDamage(cause: UnreadableError, message: string): DamageError {
  return new DamageError(cause.key, message, { cause });
}
