/** Whether a file's times tell every write to it, also one through a mapping (mmap(2), `MAP_SHARED`). */
import * as fs from "node:fs";
import { statfs } from "node:fs/promises";
import { closeFd, openFd, syncFd } from "./fd.ts";

/**
 * statfs(2): ext2 to ext4, XFS, btrfs. Tried: the first write to a clean page of a mapping changes the times at once, and
 * fsync makes every page clean. On tmpfs, and so on overlayfs above it, the times never change; of FUSE and network file
 * systems nobody can tell.
 */
const TELLING_FILE_SYSTEMS = new Set([0xef53, 0x58465342, 0x9123683e]);

/**
 * Syncs the file: from then on every write to it changes its times. `false` where that cannot be had.
 */
export async function settleTimes(path: string): Promise<boolean> {
  let fd: number | undefined;
  try {
    if (!TELLING_FILE_SYSTEMS.has((await statfs(path)).type)) return false;
    fd = await openFd(path, fs.constants.O_RDONLY);
    await syncFd(fd);
    return true;
  } catch {
    return false;
  } finally {
    if (fd !== undefined) await closeFd(fd);
  }
}
