/** Clears the directory store's temporary folder of what killed processes have left there. */
import { lstat, readdir, unlink } from "node:fs/promises";
import type { Folder } from "../../os/folder.ts";

/** No single write takes this long: an older temporary file has no process any more. */
export const LEFTOVER_AGE_MS = 24 * 60 * 60 * 1000;

/** A random UUID (RFC 9562, version 4) as `crypto.randomUUID` writes it: what `temporaryName` gives, and nobody else may. */
const TEMPORARY_NAME = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** For a file whose write is not finished. */
export function temporaryName(): string {
  return crypto.randomUUID();
}

/**
 * Removes the files that are older than `LEFTOVER_AGE_MS`, if they have the name of one of varve's and belong to this user.
 * Ages are told by the file system's own clock, which may be another host's: "now" is when the folder itself last changed, so
 * nothing too young is ever removed.
 */
export async function removeLeftovers(folder: Folder): Promise<void> {
  const nowMs = Number((await folder.stat()).mtimeMs);
  for (const name of (await readdir(folder.here)).filter((name) => TEMPORARY_NAME.test(name))) {
    const found = await lstat(folder.at(name)).catch(() => undefined); // its own process may be done with it by now
    const isLeftover = found?.isFile() && found.uid === process.geteuid?.() &&
      found.mtimeMs < nowMs - LEFTOVER_AGE_MS;
    if (isLeftover) await unlink(folder.at(name)).catch(() => {}); // whatever stays takes room, and nothing else
  }
}
