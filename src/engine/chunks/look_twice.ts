/** One look is no proof: a single answer of a store, a line or a disk can be wrong where the object is whole. */
import { DamageError, MissingError } from "../../errors.ts";

/**
 * Runs `read` again where it finds the object at `key` damaged or gone; what it finds then counts. What is said of another
 * object on the way (the base of a patch) was looked at twice already.
 */
export async function lookTwice<T>(key: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const isIt = (error instanceof DamageError || error instanceof MissingError) && error.key === key;
    if (!isIt) throw error;
  }
  return await read();
}
