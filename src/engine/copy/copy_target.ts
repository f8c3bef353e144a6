/** Where a copy goes: a second repository, and in it the same project, that is one with the same keys. */
import { describeError, isUnreadable, VarveError } from "../../errors.ts";
import { KEYS_PREFIX, projectPrefix } from "../../format/layout.ts";
import type { Store } from "../../store/store.ts";
import type { Context } from "../../context.ts";
import { checkKey, isKeyName } from "../../project/check_beside.ts";

/**
 * Adds the keys that the other does not have, but for those that cannot be read; none is overwritten. A project is the same one where they share a key: two
 * of one name that share none are refused, for the secret of one need not open the other. Throws `conflict`.
 */
export async function copyKeys(
  { from, to, project }: { from: Store; to: Store; project: string },
  context: Context,
): Promise<void> {
  const { signal } = context;
  const prefix = projectPrefix(project);
  const list = async (store: Store) => {
    // Twice: a listing that is short must not bring a foreign key into a project.
    const looks = [0, 1].map(() => Array.fromAsync(store.list(prefix + KEYS_PREFIX, { signal })));
    const found = new Set((await Promise.all(looks)).flat().map(({ key }) => key));
    return [...found].filter((key) => isKeyName(key.slice(prefix.length)));
  };
  const there = new Set(await list(to));
  const keys = await list(from);
  if (there.size > 0 && !keys.some((key) => there.has(key))) {
    throw new VarveError(
      "conflict",
      `Cannot copy "${project}" to "${to.url}": there is a different project of that name, with other keys`,
    );
  }
  for (const key of keys) {
    if (there.has(key)) continue;
    const bytes = await readKey(key, { from, project }, context);
    if (bytes === undefined) continue;
    await to.put(key, bytes, { signal });
    // Read back: what is sealed under a key that was cut cannot be read by anybody.
    await checkKey(to, { key, project }, context);
  }
}

/** The key's bytes; `undefined`, and said, where they are not whole. */
async function readKey(
  key: string,
  { from, project }: { from: Store; project: string },
  context: Context,
): Promise<Uint8Array | undefined> {
  try {
    return await checkKey(from, { key, project }, context);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    context.log.warn({ key }, `skipping the key: ${describeError(error)}`);
    return undefined;
  }
}
