/** One look is no proof: what cannot be opened, or is said to be gone, is fetched once more before anybody believes it. */
import { DamageError, MissingError, VarveError } from "../errors.ts";

/** Runs `read`, and once more where it finds damage or nothing; that the second time counts. */
export async function readTwice<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isDoubtful(error)) throw error;
    return await read();
  }
}

/** Bytes that were changed on the way may also look like those of another version. */
function isDoubtful(error: unknown): boolean {
  if (error instanceof DamageError || error instanceof MissingError) return true;
  return error instanceof VarveError && error.code === "format_version";
}
