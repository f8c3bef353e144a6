/** Points that an erasure would take though they are held, and why they are, where a secret tells. */
import { type ErrorCode, isUnreadable, VarveError } from "../../errors.ts";
import type { Secret } from "../../codec/keys.ts";
import type { Context } from "../../context.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { readHold } from "../../project/holds.ts";
import type { PointRef } from "../../project/point_ref.ts";

export interface HeldPoint {
  /** `PROJECT/VOLUME@BACKUP`. */
  point: string;
  /** What was said when it was held; `null` where nothing was, or it cannot be read. */
  reason: string | null;
}

/** Why a project, or one of its objects, does not open. */
const CLOSED: ReadonlySet<ErrorCode> = new Set(["damage", "format_version", "not_found", "wrong_secret"]);

/** Never fails for a secret or an object: that a point is held is told by a name. */
export async function heldPoints(
  repository: Repository,
  { project: name, held, secrets }: {
    project: string;
    held: readonly PointRef[];
    secrets: readonly Secret[];
  },
  context: Context,
): Promise<HeldPoint[]> {
  if (held.length === 0) return [];
  const quiet = { ...context, onProblem: () => {} };
  const project = await openProject(repository, { name, secrets }, quiet).catch(
    unlessUnreadable,
  );
  const points: HeldPoint[] = [];
  for (const place of held) {
    const point = `${name}/${place.volume}@${place.backup}`;
    points.push({ point, reason: project === undefined ? null : await reasonOf(project, place, quiet) });
  }
  return points;
}

async function reasonOf(project: Project, place: PointRef, context: Context): Promise<string | null> {
  const hold = await readHold(project, place, context).catch(unlessUnreadable);
  return typeof hold?.reason === "string" ? hold.reason : null;
}

function unlessUnreadable(error: unknown): undefined {
  if (isUnreadable(error) || (error instanceof VarveError && CLOSED.has(error.code))) return undefined;
  throw error;
}
