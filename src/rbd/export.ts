/**
 * Decodes whole rbd streams: a v1 difference, or the container of `rbd export --export-format 2`, which holds one
 * v2 difference for each snapshot and one for the image's head. Source: Ceph's doc/dev/rbd-export.rst and
 * Export.cc and Import.cc of tools/rbd/action.
 */
import type { StreamError } from "../errors.ts";
import { equalBytes, utf8 } from "../util/bytes.ts";
import { decodeRbdDiff } from "./diff.ts";
import { type Decoding, RbdCursor, streamEndsEarly } from "./steps.ts";
import { snapshotText } from "../format/snapshot_name.ts";

const DIFF_BANNER = "rbd diff v1\n";
const EXPORT_BANNER = "rbd image v2\n";
const EXPORT_DIFFS_BANNER = "rbd image diffs v2\n";
const EXPORT_DIFF_BANNER = "rbd diff v2\n";
const STREAM_BEGINNINGS = ["rbd diff v", "rbd image v"];

/** More than any image property or image-meta value that Ceph can hold. */
const MAX_PROPERTY_BYTES = 16 * 1024 * 1024;
const PROPERTIES_END = "E".charCodeAt(0);

/**
 * Decodes the stream called `name` from its first byte to its end. Hands out, for each difference, a `diff`, its
 * extents and an `end`; returns once the last is whole and the stream has ended behind it.
 *
 * @throws {StreamError} for every byte sequence that is not a whole, valid stream
 */
export function* decodeRbdStream(name: string): Decoding {
  const cursor = new RbdCursor(name);
  const seen = (yield* cursor.takeUpTo(DIFF_BANNER.length)).slice();
  if (equalBytes(seen, utf8(DIFF_BANNER))) yield* decodeRbdDiff(cursor, false);
  else if (equalBytes(seen, utf8(EXPORT_BANNER.slice(0, DIFF_BANNER.length)))) {
    yield* expect(cursor, EXPORT_BANNER.slice(DIFF_BANNER.length));
    yield* decodeExport(cursor);
  } else throw notAnRbdStream(cursor, { name, seen });
  const { offset } = cursor;
  if ((yield* cursor.takeUpTo(1)).length > 0) throw cursor.fail("more bytes after its end record", offset);
}

/** Whether the bytes begin like a stream of rbd, of whatever version: not like what a disk begins with. */
export function isRbdStream(bytes: Uint8Array): boolean {
  return STREAM_BEGINNINGS.some((beginning) =>
    equalBytes(bytes.subarray(0, beginning.length), utf8(beginning))
  );
}

/** The container behind its banner. The image's own properties (object size, features, …) are no part of a volume. */
function* decodeExport(cursor: RbdCursor): Decoding {
  while ((yield* cursor.takeByte()) !== PROPERTIES_END) yield* skipProperty(cursor);
  yield* expect(cursor, EXPORT_DIFFS_BANNER);
  const { offset } = cursor;
  const count = yield* cursor.takeNumber("a count of differences");
  if (count === 0) throw cursor.fail("no differences", offset);
  for (let left = count; left > 0; left -= 1) {
    yield* expect(cursor, EXPORT_DIFF_BANNER);
    yield* decodeRbdDiff(cursor, true);
  }
}

function* skipProperty(cursor: RbdCursor): Decoding {
  const { offset } = cursor;
  const sizeBytes = yield* cursor.takeNumber("a property's length");
  if (sizeBytes > MAX_PROPERTY_BYTES) throw cursor.fail(`an image property of ${sizeBytes} bytes`, offset);
  yield* cursor.skip(sizeBytes);
}

function* expect(cursor: RbdCursor, banner: string): Decoding {
  const { offset } = cursor;
  const seen = yield* cursor.take(banner.length);
  if (equalBytes(seen, utf8(banner))) return;
  throw cursor.fail(`"${snapshotText(seen)}" instead of "${snapshotText(utf8(banner))}"`, offset);
}

function notAnRbdStream(cursor: RbdCursor, { name, seen }: { name: string; seen: Uint8Array }): StreamError {
  if (seen.length === 0) return cursor.error("it is empty, but an rbd stream was expected", 0);
  const known = [DIFF_BANNER, EXPORT_BANNER].map(utf8);
  if (known.some((banner) => equalBytes(seen, banner.subarray(0, seen.length)))) {
    // Cut off within the banner: a whole one was seen by the caller.
    return streamEndsEarly(name, cursor.offset);
  }
  const advice = 'not with "rbd diff v1" or "rbd image v2"; for the raw bytes of a volume use --format raw';
  return cursor.error(`it starts with "${snapshotText(seen)}", ${advice}`, 0);
}
