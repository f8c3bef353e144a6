/** Points that are gone though no forget took them: those that the last gc saw, and those that this host has seen. */
import type { Context } from "../../context.ts";
import { MissingError } from "../../errors.ts";
import { manifestName, parseManifestName } from "../../format/layout.ts";
import type { Project } from "../../project/project.ts";
import { findMissed } from "../../project/seen_points.ts";
import { lostPoints, newestHead } from "../../project/sharing/plan_points.ts";
import { listPlans } from "../../project/sharing/plans.ts";
import type { ManifestScope } from "../../volume/references.ts";

/** Errors that say so; `points` are the names of the manifests that were read. Nothing is missed of a single point. */
export async function* missingPoints(
  project: Project,
  { points, scope: { volume, backup } }: { points: ReadonlySet<string>; scope: ManifestScope },
  context: Context,
): AsyncGenerator<MissingError> {
  const missing = (name: string, state: string) =>
    new MissingError(
      project.objectKey(name),
      `Cannot read "${project.objectKey(name)}": it is missing, although ${state} and no forget deleted it`,
    );
  if (volume === undefined) {
    const head = newestHead(await listPlans(project, context), Infinity);
    for (const name of await lostPoints(project, { points, head }, context)) {
      // A gc that looked after this verify began has seen points that were not there then.
      if (!await project.has(name, context)) yield missing(name, "the last gc saw it");
    }
  }
  if (backup !== undefined) return;
  const readable = [...points].map((name) => ({ ...parseManifestName(name)!, isReadable: true }));
  for (const missed of await findMissed(project, { volume, points: readable }, context)) {
    yield missing(manifestName(missed.volume, missed.backup), "this host has seen it");
  }
}
