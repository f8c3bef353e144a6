/**
 * One look at a file system can be wrong: an attribute cache was behind, a sector was read only at the second try. What is
 * not there, or not to be read, is so only when a second look says the same.
 */
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoOf, isAbsent } from "./directory_errors.ts";

/**
 * What `look` finds at `path`, or `undefined` where it finds nothing twice. Throws what else it meets, an input/output error
 * only when it meets it twice. Between the looks the folder is opened: that has a network file system ask its server.
 */
export async function lookTwice<T>(path: string, look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (!isAbsent(error) && errnoOf(error) !== "EIO") throw error;
  }
  await open(dirname(path), "r").then((folder) => folder.close(), () => {});
  return await look().catch(undefinedIfAbsent);
}

function undefinedIfAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}
