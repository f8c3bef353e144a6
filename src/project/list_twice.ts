/** One look is no proof: a single listing may be short, or old. */
import type { ObjectInfo, RequestOptions } from "../store/store.ts";
import type { Project } from "./project.ts";

/** An object of a project, as a listing tells it. */
export type NamedObject = ObjectInfo & { name: string };

/** What one of two listings, side by side, tells below the prefix, ascending by name, and as fresh as either says. */
export async function listTwice(
  project: Project,
  prefix: string,
  { signal }: RequestOptions,
): Promise<NamedObject[]> {
  const looks = [1, 2].map(() => Array.fromAsync(project.list(prefix, { signal })));
  const found = new Map<string, NamedObject>();
  for (const object of (await Promise.all(looks)).flat()) {
    const known = found.get(object.name);
    if (known === undefined || known.modifiedMs < object.modifiedMs) found.set(object.name, object);
  }
  return [...found.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}
