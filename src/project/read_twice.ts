/** One look is no proof: what cannot be opened, or is said to be gone, is fetched once more before anybody believes it. */
import { DamageError, MissingError, VarveError } from "../errors.ts";

/**
 * Runs `read`, and once more where it finds damage or nothing; that the second time counts. With `key`, only where that
 * object is what was found so: what is said of others on the way was looked at twice already.
 */
export async function readTwice<T>(read: () => Promise<T>, { key }: { key?: string } = {}): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isDoubtful(error) || (key !== undefined && keyOf(error) !== key)) throw error;
    return await read();
  }
}

function keyOf(error: unknown): string | undefined {
  return error instanceof DamageError || error instanceof MissingError ? error.key : undefined;
}

/** Bytes that were changed on the way may also look like those of another version. */
function isDoubtful(error: unknown): boolean {
  if (error instanceof DamageError || error instanceof MissingError) return true;
  return error instanceof VarveError && error.code === "format_version";
}
