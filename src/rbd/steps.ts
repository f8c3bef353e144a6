/**
 * What the decoders of rbd streams share. A decoder is a generator that opens nothing: it asks for bytes, hands out
 * what they mean, and never sees the data of an extent, which the source reads straight into its consumer's buffer.
 */
import { StreamError } from "../errors.ts";
import { MAX_SNAPSHOT_NAME_BYTES } from "../format/limits.ts";

/** No decoder asks for more than this in one step. */
const MAX_NEED_BYTES = 4096;

export type RbdStep =
  /** Give me this many bytes; fewer mean that the stream has ended. The array is done with at the next step. */
  | { kind: "need"; sizeBytes: number }
  /** A difference begins. */
  | {
    kind: "diff";
    fromSnapshot: Uint8Array | undefined;
    toSnapshot: Uint8Array | undefined;
    sizeBytes: number;
  }
  /** `length` bytes for `offset` of the volume follow in the stream; take them out of it before the next step. */
  | { kind: "data"; offset: number; length: number }
  | { kind: "zero"; offset: number; length: number }
  /** The difference that began last is whole. */
  | { kind: "end" };

/** Only a `need` takes a value. */
export type Decoding<T = void> = Generator<RbdStep, T, Uint8Array>;

/** The place in a stream, and the reads that all its decoders make. `name` is the stream's, for messages. */
export class RbdCursor {
  readonly #name: string;
  /** Stream bytes decoded or handed over so far. */
  offset = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** Up to `sizeBytes` bytes; fewer at the stream's end. */
  *takeUpTo(sizeBytes: number): Decoding<Uint8Array> {
    const bytes = yield { kind: "need", sizeBytes };
    this.offset += bytes.length;
    return bytes;
  }

  *take(sizeBytes: number): Decoding<Uint8Array> {
    const bytes = yield* this.takeUpTo(sizeBytes);
    if (bytes.length < sizeBytes) throw streamEndsEarly(this.#name, this.offset);
    return bytes;
  }

  *takeByte(): Decoding<number> {
    return (yield* this.take(1))[0]!;
  }

  /** A le64 that is exact as a number. `what` is for the message: "an offset". */
  *takeNumber(what: string): Decoding<number> {
    const bytes = yield* this.take(8);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    const value = view.getBigUint64(0, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.fail(`${what} of ${value}`, this.offset - 8);
    return Number(value);
  }

  /** A le32 length and that many bytes. */
  *takeName(): Decoding<Uint8Array> {
    const bytes = yield* this.take(4);
    const sizeBytes = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
    if (sizeBytes < 1 || sizeBytes > MAX_SNAPSHOT_NAME_BYTES) {
      const limit = `not 1 to ${MAX_SNAPSHOT_NAME_BYTES} bytes`;
      throw this.fail(`a snapshot name of ${sizeBytes} bytes, ${limit}`, this.offset - 4);
    }
    return (yield* this.take(sizeBytes)).slice();
  }

  *skip(sizeBytes: number): Decoding {
    for (let left = sizeBytes; left > 0; left -= MAX_NEED_BYTES) {
      yield* this.take(Math.min(left, MAX_NEED_BYTES));
    }
  }

  /** The error for "the stream holds `what`" at `offset`. */
  fail(what: string, offset: number): StreamError {
    return streamError(this.#name, `the stream has ${what}`, offset);
  }

  error(state: string, offset: number): StreamError {
    return streamError(this.#name, state, offset);
  }
}

/** The error for a stream called `name` that stops at `offset`, before its end record. */
export function streamEndsEarly(name: string, offset: number): StreamError {
  return streamError(name, "the stream ends before its end record", offset);
}

function streamError(name: string, state: string, offset: number): StreamError {
  return new StreamError(`Cannot read "${name}": ${state}`, offset);
}
