/** What a file system answers, in words for the operator. */
import { systemCode } from "./fd.ts";

/** Short words for the states an operator meets most. */
const STATES: Readonly<Record<string, string>> = {
  ENOTDIR: "not a directory",
  ENOSPC: "no space left on the device",
  EDQUOT: "the disk quota is used up",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  EIO: "input/output error",
  ESTALE: "stale file handle",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "too many symbolic links",
  EUCLEAN: "the file system is damaged",
  EBADMSG: "the file system is damaged",
  ENOTCONN: "the file system's server is not connected",
  EHOSTDOWN: "the file system's server is down",
};

/** The failure in a few words, with its code. */
export function describeFileError(error: unknown): string {
  const code = systemCode(error);
  if (code === undefined) return error instanceof Error ? error.message : String(error);
  return `${STATES[code] ?? "the file system failed"} (${code})`;
}
