/** One look is no proof: a single listing may be short, or old. */
import type { ObjectInfo, RequestOptions } from "../store/store.ts";
import type { Project } from "./project.ts";

/** An object of a project, as a listing tells it. */
export type NamedObject = ObjectInfo & { name: string };

/** What one of two listings tells below the prefix, ascending by name, and as the later one says. */
export async function listTwice(
  project: Project,
  prefix: string,
  { signal }: RequestOptions,
): Promise<NamedObject[]> {
  const found = new Map<string, NamedObject>();
  for (let look = 0; look < 2; look++) {
    for await (const object of project.list(prefix, { signal })) found.set(object.name, object);
  }
  return [...found.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}
