/** Points that are gone though no forget took them: those that the last gc saw, and those that this host has seen. */
import type { Context } from "../../context.ts";
import { MissingError } from "../../errors.ts";
import { manifestName, VOLUMES_PREFIX } from "../../format/layout.ts";
import { listPoints } from "../../project/points.ts";
import type { Project } from "../../project/project.ts";
import { findMissed, readablePoints } from "../../project/seen_points.ts";
import { lostPoints, newestHead } from "../../project/sharing/plan_points.ts";
import { listPlans } from "../../project/sharing/plans.ts";
import type { ManifestScope, ReferenceSet } from "../../volume/references.ts";

/** The names of the manifests that were read, and which ids they pass over. */
export type ReadPoints = Pick<ReferenceSet, "points" | "passedOver">;

/** Errors that say so. With a single point in the scope it is what its volume has lost. */
export async function* missingPoints(
  project: Project,
  { read, scope: { volume, backup } }: { read: ReadPoints; scope: ManifestScope },
  context: Context,
): AsyncGenerator<MissingError> {
  const missing = (name: string, state: string) =>
    new MissingError(
      project.objectKey(name),
      `Cannot read "${project.objectKey(name)}": it is missing, although ${state} and no forget deleted it`,
    );
  if (volume === undefined) {
    const head = newestHead(await listPlans(project, context), Infinity);
    for (const name of await lostPoints(project, { points: read.points, head }, context)) {
      // A gc that looked after this verify began has seen points that were not there then.
      if (!await project.has(name, context)) yield missing(name, "the last gc saw it");
    }
  }
  const present = volume === undefined || backup === undefined
    ? readablePoints(read)
    : (await listPoints(project, volume, context)).map((point) => ({ ...point, isReadable: false }));
  const missed = await findMissed(project, { volume, points: present }, context);
  for (const point of missed.points) {
    yield missing(manifestName(point.volume, point.backup), "this host has seen it");
  }
  for (const { volume, state } of missed.notes) {
    yield new MissingError(
      project.objectKey(`${VOLUMES_PREFIX}${volume}`),
      `Cannot tell what is missing: ${state}`,
    );
  }
}
