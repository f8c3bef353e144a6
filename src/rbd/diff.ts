/**
 * Decodes one difference: what `rbd export-diff` and `rbd merge-diff` write (v1), and what stands for each snapshot
 * in `rbd export --export-format 2` (v2, whose records are framed with their length). Source of both: Ceph's
 * doc/dev/rbd-diff.rst and Export.cc of tools/rbd/action.
 */
import { MAX_VOLUME_BYTES } from "../format/limits.ts";
import type { Decoding, RbdCursor } from "./steps.ts";

const FROM_SNAPSHOT = tag("f");
const TO_SNAPSHOT = tag("t");
const SIZE = tag("s");
const PROTECTION = tag("p");
const WRITE = tag("w");
const ZERO = tag("z");
const END = tag("e");

const METADATA: ReadonlySet<number> = new Set([FROM_SNAPSHOT, TO_SNAPSHOT, SIZE, PROTECTION]);

interface RecordHead {
  tag: number;
  /** Of the tag, in the stream. */
  offset: number;
  /** Bytes that follow, as a framed stream tells them. */
  frameBytes: number | undefined;
}

interface Metadata {
  fromSnapshot: Uint8Array | undefined;
  toSnapshot: Uint8Array | undefined;
  sizeBytes: number | undefined;
}

/**
 * Decodes from behind the banner up to the end record. `framed`: the records are those of v2.
 *
 * @throws {StreamError} for every byte sequence that is not a whole, valid difference
 */
export function* decodeRbdDiff(cursor: RbdCursor, framed: boolean): Decoding {
  const metadata: Metadata = { fromSnapshot: undefined, toSnapshot: undefined, sizeBytes: undefined };
  let head = yield* decodeMetadata(cursor, { metadata, framed });
  const { sizeBytes } = metadata;
  if (sizeBytes === undefined) throw cursor.error("the size record is missing", head.offset);
  yield { kind: "diff", ...metadata, sizeBytes };
  while (head.tag !== END) {
    yield* decodeExtent(cursor, { head, sizeBytes });
    head = yield* decodeHead(cursor, framed);
  }
  yield { kind: "end" };
}

/** Fills `metadata` and returns the first record that is none. */
function* decodeMetadata(
  cursor: RbdCursor,
  { metadata, framed }: { metadata: Metadata; framed: boolean },
): Decoding<RecordHead> {
  const seen = new Set<number>();
  for (;;) {
    const head = yield* decodeHead(cursor, framed);
    if (!METADATA.has(head.tag)) return head;
    if (seen.has(head.tag)) throw cursor.fail(`a second ${tagText(head.tag)} record`, head.offset);
    seen.add(head.tag);
    if (head.tag === FROM_SNAPSHOT) metadata.fromSnapshot = yield* decodeName(cursor, head);
    else if (head.tag === TO_SNAPSHOT) metadata.toSnapshot = yield* decodeName(cursor, head);
    else if (head.tag === SIZE) metadata.sizeBytes = yield* decodeSize(cursor, head);
    else yield* skipProtection(cursor, head);
  }
}

/** A tag that is not known cannot be left out: it may be data that a later Ceph writes. */
function* decodeHead(cursor: RbdCursor, framed: boolean): Decoding<RecordHead> {
  const { offset } = cursor;
  const tag = yield* cursor.takeByte();
  const known = tag === WRITE || tag === ZERO || tag === END || METADATA.has(tag);
  if (!known || (tag === PROTECTION && !framed)) {
    throw cursor.fail(`a record with the unknown tag ${tagText(tag)}`, offset);
  }
  const hasFrame = framed && tag !== END;
  return { tag, offset, frameBytes: hasFrame ? yield* cursor.takeNumber("a record length") : undefined };
}

function* decodeName(cursor: RbdCursor, head: RecordHead): Decoding<Uint8Array> {
  const name = yield* cursor.takeName();
  assertFrame(cursor, { head, sizeBytes: 4 + name.length });
  return name;
}

function* decodeSize(cursor: RbdCursor, head: RecordHead): Decoding<number> {
  assertFrame(cursor, { head, sizeBytes: 8 });
  const sizeBytes = yield* cursor.takeNumber("a volume size");
  if (sizeBytes > MAX_VOLUME_BYTES) throw cursor.fail(`a volume size of ${sizeBytes}`, head.offset);
  return sizeBytes;
}

/** One byte follows, whatever the frame says: Ceph up to 16 writes 8 there, later ones 1. */
function* skipProtection(cursor: RbdCursor, head: RecordHead): Decoding {
  if (head.frameBytes !== 8) assertFrame(cursor, { head, sizeBytes: 1 });
  yield* cursor.take(1);
}

function* decodeExtent(
  cursor: RbdCursor,
  { head, sizeBytes }: { head: RecordHead; sizeBytes: number },
): Decoding {
  if (METADATA.has(head.tag)) {
    throw cursor.fail(`a ${tagText(head.tag)} record after the first extent`, head.offset);
  }
  const offset = yield* cursor.takeNumber("an extent's offset");
  const length = yield* cursor.takeNumber("an extent's length");
  assertFrame(cursor, { head, sizeBytes: head.tag === WRITE ? 16 + length : 16 });
  // Not a sum: both may be near the largest exact number.
  if (length > sizeBytes - offset) {
    const extent = `an extent of ${length} bytes at ${offset}`;
    throw cursor.fail(`${extent}, outside the volume of ${sizeBytes} bytes`, head.offset);
  }
  yield { kind: head.tag === WRITE ? "data" : "zero", offset, length };
  if (head.tag === WRITE) cursor.offset += length;
}

function assertFrame(cursor: RbdCursor, expected: { head: RecordHead; sizeBytes: number }): void {
  const { frameBytes, tag, offset } = expected.head;
  if (frameBytes === undefined || frameBytes === expected.sizeBytes) return;
  throw cursor.fail(
    `a ${tagText(tag)} record of ${frameBytes} bytes instead of ${expected.sizeBytes}`,
    offset,
  );
}

function tag(letter: string): number {
  return letter.charCodeAt(0);
}

function tagText(tag: number): string {
  const hex = `0x${tag.toString(16).padStart(2, "0")}`;
  return tag > 0x20 && tag < 0x7f ? `"${String.fromCharCode(tag)}" (${hex})` : hex;
}
