/** Clears the directory store's temporary folder of what killed processes have left there. */
import { lstat, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";

/** No single write takes this long: an older temporary file has no process any more. */
export const LEFTOVER_AGE_MS = 24 * 60 * 60 * 1000;

/**
 * Removes the files in `folder` that are older than `LEFTOVER_AGE_MS`. Ages are told by the file system's own clock,
 * which may be another host's: "now" is when the folder itself last changed, so nothing too young is ever removed.
 */
export async function removeLeftovers(folder: string): Promise<void> {
  const stats = await lstat(folder);
  if (!stats.isDirectory()) return; // a link: what lies behind it is not ours
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const found = await lstat(path).catch(() => undefined); // its own process may be done with it by now
    const isLeftover = found?.isFile() && found.mtimeMs < stats.mtimeMs - LEFTOVER_AGE_MS;
    if (isLeftover) await unlink(path).catch(() => {}); // whatever stays takes room, and nothing else
  }
}
