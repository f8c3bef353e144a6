/** What a failed file operation means to the directory store: absent, refused, worth a retry, or final. */
import { StoreError, UnavailableError, VarveError } from "../../errors.ts";
import { describeFileError } from "../../os/file_error.ts";

/** A later attempt may succeed: an interrupted call, a network file system that came back, too many open files. */
const RETRYABLE = new Set([
  ...["EAGAIN", "EINTR", "EBUSY", "EMFILE", "ENFILE", "ENOMEM"],
  ...["ETIMEDOUT", "ESTALE", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "EREMOTEIO"],
  ...["ECONNREFUSED", "ECONNRESET", "ECONNABORTED"],
]);
/** Nothing fits any more: only deleting helps. */
const FULL = new Set(["ENOSPC", "EDQUOT"]);

/** The system's error code, such as `ENOENT`. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** There is definitely no such object: nothing there, a path that leads through a file, or a folder. */
export function isAbsent(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "EISDIR"].includes(errnoOf(error) ?? "");
}

/** The rights forbid it: trying again will not help. */
export function isRefused(error: unknown): boolean {
  return ["EACCES", "EPERM", "EROFS"].includes(errnoOf(error) ?? "");
}

/** `Cannot <action> "<path>": <state>`; an error that is already varve's own stays as it is. */
export function directoryError(action: string, path: string, error: unknown): VarveError {
  if (error instanceof VarveError) return error;
  const code = errnoOf(error) ?? "";
  return new StoreError(`Cannot ${action} "${path}": ${describeFileError(error)}`, {
    retryable: RETRYABLE.has(code),
    isFull: FULL.has(code),
    cause: error,
  });
}

/** The same where one object was to be read: what will not pass concerns it alone. */
export function objectError(key: string, failed: VarveError): VarveError {
  if (!(failed instanceof StoreError) || failed.retryable) return failed;
  return new UnavailableError(key, failed.message, { cause: failed.cause });
}
