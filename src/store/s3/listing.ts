/**
 * What proves a page of an S3 listing: it is the answer to what was asked, it is whole, and it moves. A page that came
 * from elsewhere would make objects in use look like garbage. Part of the S3 store.
 */
import { AnswerError } from "./answers.ts";

/** What was asked for. */
export interface PageRequest {
  bucket: string;
  /** Every key begins with it. */
  prefix: string;
  /** Every key comes after it; with `orEqual` it may come again. */
  after?: string | undefined;
}

/** What the listings of objects, versions and uploads have in common, as the SDK names it. */
interface PageEcho {
  /** The bucket that the answer names. */
  name?: string | undefined;
  Prefix?: string | undefined;
  IsTruncated?: boolean | undefined;
}

interface ListedObject {
  Key?: string | undefined;
  Size?: number | undefined;
  LastModified?: Date | undefined;
}

/** Names by which a bucket is reached that its own name need not be: those of access points. */
const ALIAS = /-s3alias$|--ol-s3$/;

/** Throws `AnswerError` unless the page says whether it is the last, and is of the bucket and prefix asked for. */
export function assertEcho({ name, Prefix, IsTruncated }: PageEcho, { bucket, prefix }: PageRequest): void {
  if (IsTruncated === undefined) throw new AnswerError("it does not state if it is complete (IsTruncated)");
  if (name && name !== bucket && !ALIAS.test(bucket)) throw new AnswerError(`it is for bucket "${name}"`);
  if (Prefix !== undefined && Prefix !== prefix) throw new AnswerError(`it is for prefix "${Prefix}"`);
}

/** Throws unless each key has the prefix, and comes after the one before it, or, with `repeats`, at the same place. */
export function assertOrder(
  keys: readonly (string | undefined)[],
  { prefix, after }: PageRequest,
  { repeats = false }: { repeats?: boolean } = {},
): void {
  let last = after;
  for (const key of keys) {
    if (!key) throw new AnswerError("it has an entry without a key");
    if (!key.startsWith(prefix)) throw new AnswerError(`it has "${key}", which is outside the prefix`);
    const isBehind = last === undefined || comesAfter(key, last) || (repeats && key === last);
    if (!isBehind) throw new AnswerError(`its order is wrong: "${key}" comes after "${last}"`);
    last = key;
  }
}

/** Throws unless the object has a size and a time that can be. */
export function assertObject({ Key, Size, LastModified }: ListedObject): void {
  if (!isSize(Size)) throw new AnswerError(`it has no valid size for "${Key}"`);
  if (!isTime(LastModified)) throw new AnswerError(`it has no valid time for "${Key}"`);
}

/** Throws unless the count that a page gives of its own entries, if it does, is theirs. */
export function assertCount(count: number | undefined, entries: { objects: number; folders: number }): void {
  const { objects, folders } = entries;
  // Ceph counts the objects alone.
  if (count === undefined || count === objects + folders || (folders > 0 && count === objects)) return;
  throw new AnswerError(`it claims ${count} entries but has ${objects + folders}`);
}

/** Where a cut page says to go on; throws where it says nothing, or the place that it was asked for. */
export function nextOf(next: string | undefined, asked: string | undefined): string {
  if (!next) throw new AnswerError("it is truncated but has no continuation token");
  if (next === asked) throw new AnswerError("it is truncated and its continuation token repeats");
  return next;
}

/** Whether `size` is that of an object: S3 and every computer has a limit far below. */
export function isSize(size: number | undefined): size is number {
  return size !== undefined && Number.isSafeInteger(size) && size >= 0;
}

export function isTime(time: Date | undefined): time is Date {
  return time !== undefined && time.getTime() > 0; // not so for an invalid one, whose time is NaN
}

/** By the bytes of the keys; JavaScript orders characters beyond U+FFFF differently. */
function comesAfter(key: string, last: string): boolean {
  return key > last ? true : Buffer.compare(Buffer.from(key), Buffer.from(last)) > 0;
}
