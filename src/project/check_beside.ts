/** The objects beside the chunks and manifests that a restore or an operator needs: keys and holds. */
import { DamageError, describeError, isUnreadable, type UnreadableError, VarveError } from "../errors.ts";
import { CHECKED_JSON_RANGE } from "../format/checked_json.ts";
import { holdsPrefix, KEYS_PREFIX, parseHoldName } from "../format/layout.ts";
import { readTwice } from "./read_twice.ts";
import type { Context } from "../context.ts";
import type { Project } from "./project.ts";
import { decodeKey } from "./project_keys.ts";
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
  for await (const { name, key } of project.list(KEYS_PREFIX, context)) {
    if (isKeyName(name)) {
      await checkKey(project.store, { key, project: project.name }, context).catch(report);
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

/** The bytes of a project's key. Throws `DamageError` where they are not as varve wrote them for it, `MissingError`. */
export async function checkKey(
  store: Project["store"],
  { key, project }: { key: string; project: string },
  { signal }: Context,
): Promise<Uint8Array> {
  return await readTwice(async () => {
    const bytes = await store.get(key, { signal, range: CHECKED_JSON_RANGE });
    try {
      decodeKey(bytes, { key, project });
    } catch (cause) {
      // A version that no varve of this repository wrote is a damaged one.
      if (!(cause instanceof VarveError) || cause.code !== "format_version") throw cause;
      throw new DamageError(key, describeError(cause), { cause });
    }
    return bytes;
  });
}
