/** What is left of a repository that has lost its `varve.json`. */
import type { Secret } from "../codec/keys.ts";
import { ChunkSizeError, isUnreadable, VarveError } from "../errors.ts";
import { DEFAULT_CHUNK_BYTES } from "../format/limits.ts";
import type { Store } from "../store/store.ts";
import { readInfo } from "./manifests.ts";
import type { Context } from "../context.ts";
import { listPoints } from "./points.ts";
import { listProjects, openProject } from "./open_project.ts";
import type { Repository } from "./repository.ts";

/** The names of the projects that there are in the store, ascending. */
export async function lostProjects(store: Store, context: Context): Promise<string[]> {
  const names = new Set<string>();
  for (let look = 1; look <= 2; look++) { // one look is no proof
    for await (const name of listProjects(lostRepository(store), context)) names.add(name);
  }
  return [...names].sort();
}

/**
 * The chunk size that the projects have; `undefined` where there are no backups. Throws `wrong_secret` where none of these can
 * be opened.
 */
export async function findChunkBytes(
  store: Store,
  { projects, secrets }: { projects: readonly string[]; secrets: readonly Secret[] },
  context: Context,
): Promise<number | undefined> {
  const lost = lostRepository(store);
  let isClosed = false;
  for (const name of projects) {
    const found = await chunkBytesOf(lost, { name, secrets }, context);
    if (typeof found === "number") return found;
    isClosed ||= found === "closed";
  }
  if (!isClosed) return undefined;
  throw new VarveError(
    "wrong_secret",
    `Cannot create a repository in "${store.url}": it has projects of unknown chunk size; ` +
      `give the --passphrase-file or --key-file of one of them, or --chunk-size`,
  );
}

/** Its id and chunk size are not known. */
function lostRepository(store: Store): Repository {
  return { id: "", store, chunkBytes: DEFAULT_CHUNK_BYTES };
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
