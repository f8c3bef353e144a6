/** The restore points of a project, by their names. */
import { parseManifestName, VOLUMES_PREFIX } from "../format/layout.ts";
import type { Context } from "../context.ts";
import { listTwice } from "./list_twice.ts";
import type { PointRef } from "./point_ref.ts";
import type { Project } from "./project.ts";

/** Every point of the project, oldest first within a volume. By two listings. */
export async function listPoints(project: Project, { signal }: Pick<Context, "signal">): Promise<PointRef[]> {
  const names = await listTwice(project, VOLUMES_PREFIX, { signal });
  return names.map(({ name }) => parseManifestName(name)).filter((point) => point !== undefined);
}
