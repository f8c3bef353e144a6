/**
 * One look at a file system can be wrong: an attribute cache was behind, a sector was read only at the second try. What is
 * not there, or not to be read, is so only when a second look says the same.
 */
import { errnoOf, isAbsent } from "./errors.ts";

/**
 * What `look` finds, or `undefined` where it finds nothing twice. Throws what else it meets, an input/output error only when
 * it meets it twice. The second time it is told so, to have the file system ask its server.
 */
export async function lookTwice<T>(look: (again: boolean) => Promise<T>): Promise<T | undefined> {
  try {
    return await look(false);
  } catch (error) {
    if (!isAbsent(error) && errnoOf(error) !== "EIO") throw error;
  }
  return await look(true).catch(undefinedIfAbsent);
}

function undefinedIfAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}
