/**
 * What a key may look like: the last line of defence below `format/`, which builds the keys. A directory must never be
 * left through `..`, and every store must refuse the same keys.
 */
import { StoreError } from "../errors.ts";

/** As many as S3 takes. */
const KEY_BYTES_MAX = 1024;

/** Throws a `StoreError` unless `key` is a non-empty path of printable ASCII without empty, `.` or `..` segments. */
export function checkKey(key: string): void {
  if (!isKey(key)) {
    throw new StoreError(`Cannot use key ${JSON.stringify(key)}: it is not valid`, { retryable: false });
  }
}

/** Throws a `StoreError` unless a key can begin with `prefix`. The empty prefix is one. */
export function assertPrefix(prefix: string): void {
  const folder = prefix.slice(0, Math.max(prefix.lastIndexOf("/"), 0));
  if (prefix.startsWith("/") || folder !== "") checkKey(folder);
}

/** What nearly every key is like: each segment begins with a letter or digit. Millions are looked at. */
const PLAIN = /^[0-9A-Za-z][\x20-\x2e\x30-\x7e]*(?:\/[0-9A-Za-z][\x20-\x2e\x30-\x7e]*)*$/;

/** Whether `key` is valid: see `checkKey`. */
export function isKey(key: string): boolean {
  if (key.length > KEY_BYTES_MAX) return false;
  return PLAIN.test(key) || (/^[\x20-\x7e]+$/.test(key) && !/(?:^|\/)\.{0,2}(?:\/|$)/.test(key));
}

/** Throws a `RangeError` for a range that no store can be asked for: the length must be 1 or more. */
export function assertRange(range: { offset: number; length: number } | undefined): void {
  if (range === undefined) return;
  const { offset, length } = range;
  if (Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 1) return;
  throw new RangeError(`Cannot read ${length} bytes from offset ${offset}: it is not a valid range`);
}
