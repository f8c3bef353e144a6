/** Where a copy goes: a second repository, and in it the same project: one with the same keys, bound to that repository. */
import { describeError, isUnreadable, VarveError } from "../../errors.ts";
import { KEYS_PREFIX, projectPrefix } from "../../format/layout.ts";
import type { Store } from "../../store/store.ts";
import type { Context } from "../../context.ts";
import { checkKey, isKeyName } from "../../project/check_beside.ts";
import { keyIdOf, type StoredKey, writeKey } from "../../project/key_object.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";

/**
 * Adds the keys that the other does not have, but for those that are not in use here; none is overwritten. A project is the
 * same one where they share a key: two of one name that share none are refused, for the secret of one need not open the
 * other. Throws `conflict`.
 */
export async function copyKeys(source: Project, to: Repository, context: Context): Promise<void> {
  const { signal } = context;
  const { name: project } = source;
  const prefix = projectPrefix(project);
  const list = async (store: Store) => {
    // Twice: a listing that is short must not bring a foreign key into a project.
    const looks = [0, 1].map(() => Array.fromAsync(store.list(prefix + KEYS_PREFIX, { signal })));
    const found = new Set((await Promise.all(looks)).flat().map(({ key }) => key));
    return [...found].filter((key) => isKeyName(key.slice(prefix.length)));
  };
  const there = new Set(await list(to.store));
  const keys = await list(source.store);
  if (there.size > 0 && !keys.some((key) => there.has(key))) {
    throw new VarveError(
      "conflict",
      `Cannot copy "${project}" to "${to.store.url}": there is a different project of that name, with other keys`,
    );
  }
  for (const key of keys) {
    const known = source.knownKey(keyIdOf(key));
    if (there.has(key) || known === undefined) continue; // why it is not in use was said where the project was opened
    const stored = await readKey(source, key, context);
    if (stored === undefined) continue;
    await writeKey(to, { name: project, keys: known, holders: stored.holders }, { signal });
    // Read back: what is sealed under a key that was cut cannot be read by anybody.
    await checkKey(to, { key, project }, context);
  }
}

/** `undefined`, and said, where it is not whole. */
async function readKey(source: Project, key: string, context: Context): Promise<StoredKey | undefined> {
  const { repositoryId: id, store, name: project } = source;
  try {
    return await checkKey({ id, store }, { key, project }, context);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    context.log.warn({ key }, `skipping the key: ${describeError(error)}`);
    return undefined;
  }
}
