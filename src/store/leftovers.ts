/** Clears the directory store's temporary folder of what killed processes have left there. */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/** No single write takes this long: an older temporary file has no process any more. */
export const LEFTOVER_AGE_MS = 24 * 60 * 60 * 1000;

/**
 * Removes the files in `folder` that are older than `LEFTOVER_AGE_MS`. Ages are told by the file system's own clock,
 * which may be another host's: "now" is when the folder itself last changed, so nothing too young is ever removed.
 */
export async function removeLeftovers(folder: string): Promise<void> {
  const nowMs = (await stat(folder)).mtimeMs;
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined); // its own process may be done with it by now
    if (found !== undefined && found.mtimeMs < nowMs - LEFTOVER_AGE_MS) await rm(path, { force: true });
  }
}
