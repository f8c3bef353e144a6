/** The restore points of a project as listings show them: by the names of their manifests. */
import type { Context } from "../context.ts";
import { manifestsPrefix, parseManifestName } from "../format/layout.ts";
import { assertVolumeName } from "../format/names.ts";
import { listTwice, type NamedObject } from "./list_twice.ts";
import type { PointRef } from "./point_ref.ts";
import type { Project } from "./project.ts";

/** A point, and its manifest in a listing. */
export interface ListedPoint extends PointRef, NamedObject {}

/** The points of a project, or of one volume; oldest first within a volume. By two listings. */
export async function listPoints(
  project: Project,
  volume: string | undefined,
  context: Pick<Context, "signal">,
): Promise<ListedPoint[]> {
  const objects = await listTwice(project, manifestsPrefix(volume), context);
  return objects.map((object) => pointOf(object, volume)).filter((point) => point !== undefined);
}

/** The same by one listing, which may be short. */
export async function* listPointsOnce(
  project: Project,
  volume: string | undefined,
  { signal }: Pick<Context, "signal">,
): AsyncGenerator<ListedPoint> {
  for await (const object of project.list(manifestsPrefix(volume), { signal })) {
    const point = pointOf(object, volume);
    if (point !== undefined) yield point;
  }
}

/** The ids of a volume's backups, by their dates. */
export async function listBackupIds(project: Project, volume: string, context: Context): Promise<string[]> {
  assertVolumeName(volume);
  return (await listPoints(project, volume, context)).map(({ backup }) => backup);
}

/** `undefined` for what is no manifest, or that of a volume whose name goes on. */
function pointOf(object: NamedObject, volume: string | undefined): ListedPoint | undefined {
  const point = parseManifestName(object.name);
  if (point === undefined || (volume !== undefined && point.volume !== volume)) return undefined;
  return { ...object, ...point };
}
