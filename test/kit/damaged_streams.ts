/** What a decoder of rbd streams has to do with a stream that is cut or damaged, whatever its format. */
import { expect } from "bun:test";
import { StreamError } from "../../src/errors.ts";
import { flippedBits } from "./damage.ts";
import { decodeAll } from "./rbd_stream.ts";

/** The error that decoding the stream ends with. */
export function streamErrorOf(stream: Uint8Array): StreamError {
  try {
    decodeAll(stream);
  } catch (error) {
    if (error instanceof StreamError) return error;
    throw error;
  }
  throw new Error("The stream was taken as valid");
}

/** Cut anywhere, the stream is refused where it ends; within `data`, its only extent, the bytes that there are come first. */
export function expectRefusedWhenCut(stream: Uint8Array, data: string): void {
  const start = Buffer.from(stream).indexOf(data);
  for (let end = 1; end < stream.length; end += 1) {
    const cut = stream.subarray(0, end);
    if (end >= start && end < start + data.length) {
      expect(decodeAll(cut).at(-1)).toBe("cut");
      continue;
    }
    const error = streamErrorOf(cut);
    expect(error.message).toContain("the stream ends before its end record");
    expect(error.offset).toBe(end);
  }
}

/** With one bit turned over, the stream is refused, or taken for another one that is valid. */
export function expectRefusedOrValidWhenDamaged(stream: Uint8Array): void {
  for (const damaged of flippedBits(stream)) {
    try {
      expect(decodeAll(damaged).at(-1)).toBeOneOf([{ kind: "end" }, "cut"]);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
    }
  }
}
