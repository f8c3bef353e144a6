/** Where a copy goes: a second repository, and in it the same project, that is one with the same keys. */
import { VarveError } from "../../errors.ts";
import { CHECKED_JSON_RANGE, decodeCheckedJson } from "../../format/checked_json.ts";
import { KEYS_PREFIX, projectPrefix } from "../../format/layout.ts";
import type { Store } from "../../store/store.ts";
import type { Context } from "../context.ts";
import { initRepository, openRepository, type Repository } from "../repository.ts";

/** The second repository; made where the store holds none. Throws `conflict` where it has another chunk size. */
export async function openSecond(store: Store, chunkBytes: number, context: Context): Promise<Repository> {
  try {
    const second = await openRepository(store, context);
    if (second.chunkBytes === chunkBytes) return second;
    throw new VarveError(
      "conflict",
      `Cannot copy to "${store.url}": its chunks have ${second.chunkBytes} bytes, here they have ${chunkBytes}`,
    );
  } catch (error) {
    if (!(error instanceof VarveError) || error.code !== "no_repository") throw error;
    return await initRepository(store, { chunkBytes }, context);
  }
}

/**
 * Adds the keys that the other does not have; none is overwritten. A project is the same one where they share a key: two
 * of one name that share none are refused, for the secret of one need not open the other. Throws `conflict`.
 */
export async function copyKeys(
  { from, to, project }: { from: Store; to: Store; project: string },
  { signal }: Context,
): Promise<void> {
  const list = async (store: Store) =>
    (await Array.fromAsync(store.list(projectPrefix(project) + KEYS_PREFIX, { signal }))).map(({ key }) =>
      key
    );
  const there = new Set(await list(to));
  const keys = await list(from);
  if (there.size > 0 && !keys.some((key) => there.has(key))) {
    throw new VarveError(
      "conflict",
      `Cannot copy "${project}" to "${to.url}": the project of that name there is another one, with other keys`,
    );
  }
  for (const key of keys) {
    if (!there.has(key)) await copyKey(key, { from, to }, signal);
  }
}

/** Checked before it is written and read back after: what is sealed under a key that was cut cannot be read by anybody. */
async function copyKey(
  key: string,
  { from, to }: { from: Store; to: Store },
  signal: AbortSignal,
): Promise<void> {
  const read = async (store: Store) => {
    const bytes = await store.get(key, { signal, range: CHECKED_JSON_RANGE });
    decodeCheckedJson(bytes, key);
    return bytes;
  };
  const bytes = await read(from).catch(() => read(from));
  await to.put(key, bytes, { signal });
  await read(to).catch(() => read(to));
}
