/** How a note is written: as a whole, for its owner alone. */
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Writes a file anew as a whole, with its folders; with `isDurable` it also outlives a power cut that comes at once. Throws
 * system errors, and leaves what was there.
 */
export async function replaceFile(
  path: string,
  text: string,
  { isDurable }: { isDurable: boolean },
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${crypto.randomUUID()}`;
  try {
    await using file = await open(temporary, "wx", 0o600);
    await file.writeFile(text);
    if (isDurable) await file.sync();
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
