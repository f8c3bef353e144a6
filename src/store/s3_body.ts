/** Reads the body of a `GET` answer. Part of the S3 store. */
import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { StoreError } from "../errors.ts";
import { countGarbage } from "../os/garbage.ts";
import { roomFor } from "./room.ts";
import type { GetOptions } from "./store.ts";

/** Of a body, that leave about as much garbage as a task for a worker. */
const BYTES_OF_GARBAGE = 128 * 1024;

export interface ReadBodyOptions {
  /** The object, for error texts. */
  url: string;
  range: GetOptions["range"];
  into?: GetOptions["into"];
  /** Once it is aborted nothing is written to `into` any more: it may hold something else by then. */
  signal?: AbortSignal | undefined;
  /** Called for each piece that arrives. */
  moved: () => void;
}

/** Collects the body in room of the length that the answer announces, and throws unless it is just as long. */
export async function readBody(
  answer: GetObjectCommandOutput,
  options: ReadBodyOptions,
): Promise<Uint8Array> {
  const { range, moved, signal } = options;
  const length = answer.ContentLength ?? 0;
  if (range !== undefined && length > range.length) {
    throw bodyError(options, "is longer than the range asked for");
  }
  const into = roomFor(length, options.into);
  let at = 0;
  for await (const piece of answer.Body?.transformToWebStream() ?? []) {
    signal?.throwIfAborted();
    moved();
    if (at + piece.length > length) throw bodyError(options, "is longer than announced");
    into.set(piece, at);
    at += piece.length;
    free(piece);
  }
  countGarbage(Math.ceil(at / BYTES_OF_GARBAGE));
  if (at < length) throw bodyError(options, `ended after ${at} of ${length} bytes`, true);
  return into;
}

/** Gives back the memory of a piece that nobody needs any more: the garbage collector would let many of them pile up. */
function free({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

function bodyError({ url }: ReadBodyOptions, state: string, retryable = false): StoreError {
  return new StoreError(`Cannot read "${url}": the answer ${state}`, { retryable });
}
