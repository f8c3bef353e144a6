/** Reads the body of a `GET` answer, and proves that it is the object, whole. Part of the S3 store. */
import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { noteAllocation } from "../../os/heap.ts";
import { roomFor } from "../room.ts";
import { AnswerError } from "./answers.ts";
import { md5Of, md5OfEtag } from "./etag.ts";
import { isSize } from "./listing.ts";
import type { GetOptions } from "../store.ts";

/** Of a body, that leave about as much garbage as a task for a worker. */
const BYTES_OF_GARBAGE = 128 * 1024;
/** No object of a repository is as large: what says so is not read. */
const OBJECT_BYTES_MAX = 1 << 30;
/** A body that does not say its length is read so far. */
const UNSIZED_BYTES_MAX = 64 << 20;
/** Bodies whose MD5 costs nothing to speak of. Larger ones are chunks, which prove themselves by their ids. */
const SUMMED_BYTES_MAX = 256 * 1024;
/** Written by servers that keep how a body was sent, and by those that change nothing. */
const PLAIN_ENCODINGS = ["", "identity", "aws-chunked"];

interface ReadBodyOptions {
  bucket: string;
  range: GetOptions["range"];
  into?: GetOptions["into"];
  /** Once it is aborted nothing is written to `into` any more: it may hold something else by then. */
  signal?: AbortSignal | undefined;
  /** Called for each piece that arrives. */
  moved: () => void;
}

/**
 * Collects the body in room of the length that the answer announces. Throws `AnswerError` unless it is just as long and
 * what was asked for; where no length is announced, unless the ETag proves it.
 */
export async function readBody(
  answer: GetObjectCommandOutput,
  options: ReadBodyOptions,
): Promise<Uint8Array> {
  // Every object has one; an answer without may be anybody's, and an empty one would be an empty object.
  if (!answer.ETag) throw new AnswerError("it has no ETag, so it is not an object of a store");
  const length = announcedLength(answer, options.range);
  const bytes = length === undefined
    ? await readUnsized(answer, options)
    : await readSized(answer, length, options);
  noteAllocation(Math.ceil(bytes.length / BYTES_OF_GARBAGE));
  if (options.range === undefined && (length === undefined || length <= SUMMED_BYTES_MAX)) {
    assertSum(answer, bytes, { bucket: options.bucket, mustProve: length === undefined });
  }
  return bytes;
}

/** From the length and the range that the answer gives, which must agree; `undefined` where it gives neither. */
function announcedLength(answer: GetObjectCommandOutput, range: GetOptions["range"]): number | undefined {
  const { ContentLength, ContentEncoding = "" } = answer;
  if (!PLAIN_ENCODINGS.includes(ContentEncoding.toLowerCase())) {
    throw new AnswerError(`it was compressed in transit (${ContentEncoding})`);
  }
  const length = range === undefined ? wholeLength(answer) : rangeLength(answer, range);
  if (length === undefined) return undefined;
  if (!isSize(length) || length > OBJECT_BYTES_MAX) throw new AnswerError(`it announces ${length} bytes`);
  if (ContentLength !== undefined && ContentLength !== length) {
    throw new AnswerError(`it announces ${ContentLength} bytes but a range of ${length}`);
  }
  return length;
}

function wholeLength({ ContentLength, ContentRange }: GetObjectCommandOutput): number | undefined {
  if (ContentRange) throw new AnswerError(`it is only a part, ${ContentRange}, of the object`);
  return ContentLength;
}

/** RFC 9110, 14.4: `bytes first-last/total`. */
function rangeLength(
  { ContentRange = "" }: GetObjectCommandOutput,
  range: NonNullable<GetOptions["range"]>,
): number {
  const wanted = `bytes ${range.offset}-${range.offset + range.length - 1}`;
  const [, first, last, total] = (/^bytes (\d+)-(\d+)\/(\d+)$/.exec(ContentRange) ?? []).map(Number);
  if (first === undefined || last === undefined || total === undefined) {
    throw new AnswerError(`it is not the requested range, ${wanted}`);
  }
  const end = Math.min(range.offset + range.length, total);
  if (first !== range.offset || last !== end - 1) {
    throw new AnswerError(`it is the range ${ContentRange} instead of ${wanted}`);
  }
  return last - first + 1;
}

async function readSized(
  answer: GetObjectCommandOutput,
  length: number,
  options: ReadBodyOptions,
): Promise<Uint8Array> {
  const into = roomFor(length, options.into);
  let at = 0;
  for await (const piece of piecesOf(answer, options)) {
    if (at + piece.length > length) {
      throw new AnswerError(`it is longer than the ${length} bytes that it announces`);
    }
    into.set(piece, at);
    at += piece.length;
    free(piece);
  }
  if (at < length) throw new AnswerError(`it ended after ${at} of ${length} bytes`);
  return into;
}

async function readUnsized(answer: GetObjectCommandOutput, options: ReadBodyOptions): Promise<Uint8Array> {
  const most = options.into?.length ?? UNSIZED_BYTES_MAX;
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of piecesOf(answer, options)) {
    pieces.push(piece);
    length += piece.length;
    if (length > most) throw new AnswerError(`it announces no length and exceeds ${most} bytes`);
  }
  const into = roomFor(length, options.into);
  let at = 0;
  for (const piece of pieces) {
    into.set(piece, at);
    at += piece.length;
    free(piece);
  }
  return into;
}

async function* piecesOf(
  answer: GetObjectCommandOutput,
  { moved, signal }: ReadBodyOptions,
): AsyncGenerator<Uint8Array> {
  for await (const piece of answer.Body?.transformToWebStream() ?? []) {
    signal?.throwIfAborted();
    moved();
    yield piece;
  }
}

function assertSum(
  answer: GetObjectCommandOutput,
  bytes: Uint8Array,
  { bucket, mustProve }: { bucket: string; mustProve: boolean },
): void {
  const md5 = md5OfEtag(answer, bucket);
  if (md5 === undefined) {
    if (mustProve) {
      throw new AnswerError("it announces no length and has no MD5 as its ETag, so it may be truncated");
    }
  } else if (md5 !== md5Of(bytes).hex) {
    throw new AnswerError(`its ETag ${answer.ETag} does not match its ${bytes.length} bytes`);
  }
}

/** Gives back the memory of a piece that nobody needs any more: the garbage collector would let many of them pile up. */
function free({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
