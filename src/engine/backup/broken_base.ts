/** What is said of a base that is not whole, or that an increment needs and cannot read. */
import { DamageError, isUnreadable, MissingError, type UnreadableError, VarveError } from "../../errors.ts";
import { isGone, type OpenManifest } from "../../project/manifests.ts";
import type { Context } from "../../context.ts";
import type { Project } from "../../project/project.ts";
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
    ...(chunks > 0 ? [`${chunks} chunks that were found damaged`] : []),
    ...(pages > 0 ? [`${pages} pages that cannot be read`] : []),
  ];
  const state = `the base "${thing}@${backup}" refers to ${what.join(" and ")}, and so does the new point`;
  log.warn({}, `${state}; back up "${thing}" in full to heal them`);
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
    throw asDamage(error, `Cannot back up "${thing}": what was just stored cannot be read`);
  }
  if (error instanceof MissingError && await isGone(project, base.info, context)) {
    throw new VarveError(
      "conflict",
      `Cannot back up "${thing}": its base was forgotten meanwhile; run it again`,
      { cause: error },
    );
  }
  const state = `the stream needs an object of "${thing}@${base.info.backup}" that cannot be read`;
  const advice = `back up in full, or see "varve repair ${project.name}"`;
  throw asDamage(error, `Cannot back up "${thing}": ${state}; ${advice}`);
}

function asDamage(cause: UnreadableError, message: string): DamageError {
  return new DamageError(cause.key, message, { cause });
}
