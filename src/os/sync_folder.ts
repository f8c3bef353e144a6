/** Makes the entries of a folder durable, where its file system can. */
import * as fs from "node:fs";
import { closeFd, openFd, syncFd, systemCode } from "./fd.ts";

/**
 * What file systems answer that cannot sync a folder by itself (CIFS, sshfs, other FUSE file systems), or do not let it be
 * opened. POSIX leaves it to them; a failed write is told by other codes.
 */
const REFUSALS = new Set(["EINVAL", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EBADF", "EACCES", "EISDIR"]);

/** Resolves to `false` where the file system refuses. Throws other system errors. */
export async function syncFolder(path: string): Promise<boolean> {
  let fd: number | undefined;
  try {
    fd = await openFd(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    await syncFd(fd);
    return true;
  } catch (error) {
    if (REFUSALS.has(systemCode(error) ?? "")) return false;
    throw error;
  } finally {
    if (fd !== undefined) await closeFd(fd);
  }
}
