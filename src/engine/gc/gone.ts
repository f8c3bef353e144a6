/** Whether a point is gone, or a store only says so. */
import { manifestName } from "../../format/layout.ts";
import type { RequestOptions } from "../../store/store.ts";
import type { Project } from "../project.ts";

/** Whether a question and a listing both say that there is no such manifest. */
export async function isGone(
  project: Project,
  { volume, backup }: { volume: string; backup: string },
  { signal }: RequestOptions,
): Promise<boolean> {
  const key = project.key(manifestName(volume, backup));
  if (await project.store.head(key, { signal }) !== undefined) return false;
  for await (const info of project.store.list(key, { signal })) if (info.key === key) return false;
  return true;
}
