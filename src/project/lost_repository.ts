/** What is left of a repository that has lost its `varve.json`. */
import type { Secret } from "../codec/keys.ts";
import { ChunkSizeError, isUnreadable, VarveError } from "../errors.ts";
import { keyName, projectPrefix } from "../format/layout.ts";
import { DEFAULT_CHUNK_BYTES } from "../format/limits.ts";
import type { Store } from "../store/store.ts";
import { readInfo } from "./manifests.ts";
import type { Context } from "../context.ts";
import { listKeyIds, readAnyKey } from "./key_object.ts";
import { listPoints } from "./points.ts";
import { listProjects, openProject } from "./open_project.ts";
import type { Repository } from "./repository.ts";

/** What `varve.json` said; `undefined`: there is nothing that tells it. */
interface LostRepository {
  id: string | undefined;
  chunkBytes: number | undefined;
}

/** The names of the projects that there are in the store, ascending. */
export async function lostProjects(store: Store, context: Context): Promise<string[]> {
  const names = new Set<string>();
  for (let look = 1; look <= 2; look++) { // one look is no proof
    for await (const name of listProjects(lostRepository(store), context)) names.add(name);
  }
  return [...names].sort();
}

/**
 * The repository's id, as the keys of the projects name it, and, unless `chunkBytes` is given, the chunk size that their
 * backups have. Throws `conflict` where keys are of different repositories, `wrong_secret` where no backup can be opened.
 */
export async function findLost(
  store: Store,
  { projects, secrets, chunkBytes }: {
    projects: readonly string[];
    secrets: readonly Secret[];
    chunkBytes: number | undefined;
  },
  context: Context,
): Promise<LostRepository> {
  const id = await findId(store, projects, context);
  if (chunkBytes !== undefined) return { id, chunkBytes };
  const lost = lostRepository(store, id);
  return { id, chunkBytes: await findChunkBytes(lost, { projects, secrets }, context) };
}

/** The id that all keys name. One that cannot be read names none. */
async function findId(store: Store, names: Iterable<string>, context: Context): Promise<string | undefined> {
  const ids = new Map<string, string>();
  for (const project of names) {
    for (const keyId of await listKeyIds(store, project, context)) {
      const key = projectPrefix(project) + keyName(keyId);
      try {
        const { repositoryId } = await readAnyKey(store, { key, project }, context);
        if (!ids.has(repositoryId)) ids.set(repositoryId, key);
      } catch (error) {
        if (!isUnreadable(error)) throw error;
      }
    }
  }
  if (ids.size > 1) throw disagreement(store, ids);
  return [...ids.keys()][0];
}

function disagreement({ url }: Store, ids: ReadonlyMap<string, string>): VarveError {
  const which = [...ids].map(([id, key]) => `"${key}" is of ${id}`).join(", ");
  return new VarveError(
    "conflict",
    `Cannot create a repository in "${url}": its keys are of different repositories: ${which}; put "varve.json" back from a ` +
      `copy, or move the projects of other repositories away`,
  );
}

/** `undefined` where there are no backups. */
async function findChunkBytes(
  lost: Repository,
  { projects, secrets }: { projects: readonly string[]; secrets: readonly Secret[] },
  context: Context,
): Promise<number | undefined> {
  let isClosed = false;
  for (const name of projects) {
    const found = await chunkBytesOf(lost, { name, secrets }, context);
    if (typeof found === "number") return found;
    isClosed ||= found === "closed";
  }
  if (!isClosed) return undefined;
  throw new VarveError(
    "wrong_secret",
    `Cannot create a repository in "${lost.store.url}": it has projects of unknown chunk size; ` +
      `give the --passphrase-file or --key-file of one of them, or --chunk-size`,
  );
}

/** Its chunk size is not known, and without an `id` nor is that: then no key is of it. */
function lostRepository(store: Store, id = ""): Repository {
  return { id, store, chunkBytes: DEFAULT_CHUNK_BYTES };
}

/** `closed` where the project has backups, and none of them can be read. */
async function chunkBytesOf(
  lost: Repository,
  { name, secrets }: { name: string; secrets: readonly Secret[] },
  context: Context,
): Promise<number | "closed" | undefined> {
  try {
    const project = await openProject(lost, { name, secrets }, context);
    const points = await listPoints(project, undefined, context);
    for (const point of points.toReversed()) {
      const found = await readInfo(project, point, context).then(
        ({ chunk_bytes }) => chunk_bytes,
        (error) => {
          if (error instanceof ChunkSizeError) return error.chunkBytes;
          if (!isUnreadable(error)) throw error;
        },
      );
      if (found !== undefined) return found;
    }
    return points.length === 0 ? undefined : "closed";
  } catch (error) {
    if (isUnreadable(error) || (error instanceof VarveError && error.code === "wrong_secret")) {
      return "closed";
    }
    throw error;
  }
}
