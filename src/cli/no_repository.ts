/** What to do where there is no repository: most often it was named wrong, or not at all. */
import * as path from "node:path";
import type { Context } from "../context.ts";
import { NoRepositoryError } from "../errors.ts";
import { REPOSITORY_KEY } from "../format/layout.ts";
import { namesOf } from "../project/not_found.ts";
import type { Store } from "../store/store.ts";

/** Folders that are looked into, of each place. */
const MAX_FOLDERS = 50;
const MAX_NAMED = 5;
const S3 = "s3://";

interface Advice {
  /** The operator has named a repository. */
  isNamed: boolean;
  open: (url: string) => Promise<Store>;
  context: Context;
}

/** The same error with the advice that fits: what is left of a lost one, how to name the repository, which ones are near, or how to make it. */
export async function adviseNoRepository(
  error: NoRepositoryError,
  advice: Advice,
): Promise<NoRepositoryError> {
  const left = await findLeft(error.url, advice);
  if (left.length > 0) {
    return new NoRepositoryError(
      error.url,
      `its "${REPOSITORY_KEY}" is missing, but its projects are there (${
        namesOf(left)
      }): restore it from a copy, ` +
        'or recreate it with "varve init" and a secret that opens one of them',
    );
  }
  const near = await findNear(error.url, advice);
  if (near.length > 0) {
    return new NoRepositoryError(error.url, `nearby: ${near.slice(0, MAX_NAMED).join(", ")}`);
  }
  if (advice.isNamed) return error;
  return new NoRepositoryError(
    error.url,
    'name another with --repo or VARVE_REPO, or create it with "varve init"',
  );
}

/** The projects of a repository that has lost its `varve.json`; none where that cannot be seen. */
async function findLeft(url: string, { open, context }: Advice): Promise<string[]> {
  const { lostProjects } = await import("../project/lost_repository.ts");
  try {
    const store = await open(url);
    return await lostProjects(store, context).finally(() => store.close());
  } catch {
    return [];
  }
}

/** The addresses of repositories beneath `url` and beside it, of its parent if it is one; nothing where that cannot be seen. */
async function findNear(url: string, { open, context }: Advice): Promise<string[]> {
  const parent = parentOf(url);
  const places = await Promise.all([url, ...parent === undefined ? [] : [parent]].map(async (place) => {
    try {
      const store = await open(place);
      return await repositoriesIn(store, place, context).finally(() => store.close());
    } catch {
      return [];
    }
  }));
  return [...new Set(places.flat())].map((place) => `"${place}"`);
}

async function repositoriesIn(store: Store, url: string, { signal }: Context): Promise<string[]> {
  const found: string[] = [];
  const join = (name: string) => url.endsWith("/") ? url + name : `${url}/${name}`;
  if (await store.head(REPOSITORY_KEY, { signal }) !== undefined) found.push(url);
  let looked = 0;
  for await (const name of store.folders("", { signal })) {
    if (++looked > MAX_FOLDERS) break;
    if (await store.head(`${name}/${REPOSITORY_KEY}`, { signal }) !== undefined) found.push(join(name));
  }
  return found;
}

/** The folder or prefix above; `undefined` for a bucket, a root directory for itself. */
export function parentOf(url: string): string | undefined {
  if (!url.startsWith(S3)) return path.dirname(path.resolve(url));
  const trimmed = url.replace(/\/+$/, "");
  const parent = trimmed.slice(0, trimmed.lastIndexOf("/"));
  return parent.length > S3.length ? parent : undefined;
}
