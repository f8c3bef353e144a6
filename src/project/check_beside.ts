/** The objects beside the chunks and manifests that a restore or an operator needs: keys and holds. */
import { DamageError, describeError, isUnreadable, type UnreadableError, VarveError } from "../errors.ts";
import { holdsPrefix, KEYS_PREFIX, parseHoldName } from "../format/layout.ts";
import type { Context } from "../context.ts";
import type { Project } from "./project.ts";
import { type KeyRing, readKey, type StoredKey } from "./key_object.ts";
import { readHold } from "./holds.ts";

/** Reads each key, and each hold of the project or of one volume. What has another name is none, and in nobody's way. */
export async function checkBeside(
  project: Project,
  { volume, onDamage }: { volume: string | undefined; onDamage: (error: UnreadableError) => void },
  context: Context,
): Promise<void> {
  const report = (error: unknown) => {
    if (!isUnreadable(error)) throw error;
    onDamage(error);
  };
  const repository = { id: project.repositoryId, store: project.store };
  for await (const { name, key } of project.list(KEYS_PREFIX, context)) {
    if (isKeyName(name)) {
      await checkKey(repository, { key, project: project.name }, context).catch(report);
    }
  }
  for await (const { name } of project.list(holdsPrefix(volume), context)) {
    const place = parseHoldName(name);
    if (place === undefined || (volume !== undefined && place.volume !== volume)) continue;
    await readHold(project, place, context).catch(report);
  }
}

export function isKeyName(name: string): boolean {
  return /^keys\/[0-9a-f]{16}$/.test(name);
}

/**
 * A key object of a project in the repository. Throws `DamageError` where it is not as varve wrote it for these,
 * `MissingError`.
 */
export async function checkKey(
  repository: KeyRing,
  { key, project }: { key: string; project: string },
  context: Context,
): Promise<StoredKey> {
  try {
    return await readKey(repository, { key, project }, context);
  } catch (cause) {
    // A version that no varve of this repository wrote is a damaged one.
    if (!(cause instanceof VarveError) || cause.code !== "format_version") throw cause;
    throw new DamageError(key, describeError(cause), { cause });
  }
}
