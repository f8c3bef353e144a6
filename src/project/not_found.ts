/** What is said of a name that does not exist: what there is instead. */
import { VarveError } from "../errors.ts";
import type { Context } from "../context.ts";
import { listPoints } from "./points.ts";
import type { Project } from "./project.ts";

/** Names that an error has room for. */
const NAMES_MAX = 5;

/** `"a", "b" and 3 more`. */
export function namesOf(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_MAX).map((name) => `"${name}"`).join(", ");
  return names.length > NAMES_MAX ? `${shown} and ${names.length - NAMES_MAX} more` : shown;
}

/** The volume has no backups; the project's other volumes are named. */
export async function noBackups(project: Project, volume: string, context: Context): Promise<VarveError> {
  const points = await listPoints(project, undefined, context);
  const volumes = new Set(points.map(({ volume }) => volume));
  const others = volumes.size === 0
    ? "the project is empty"
    : `"${project.name}" has ${namesOf([...volumes])}`;
  return new VarveError(
    "not_found",
    `Cannot find "${project.name}/${volume}": it has no restore points; ${others}`,
  );
}
