/** The cursor of the decoders: exact numbers, whole names, bounded needs, and the offset at which a stream goes wrong. */
import { describe, expect, test } from "bun:test";
import { StreamError } from "../../src/errors.ts";
import { type Decoding, RbdCursor, type RbdStep } from "../../src/rbd/steps.ts";
import { bytes, le32, le64 } from "../kit/rbd_stream.ts";

/** Runs a decoding over `stream`; what it returns, where the cursor then is, and how much it needed at once. */
function run<T>(stream: Uint8Array, decode: (cursor: RbdCursor) => Decoding<T>) {
  const cursor = new RbdCursor("a stream");
  const decoding = decode(cursor);
  const needs: number[] = [];
  let left = stream;
  let step = decoding.next(new Uint8Array());
  while (!step.done) {
    const { sizeBytes } = step.value as Extract<RbdStep, { kind: "need" }>;
    needs.push(sizeBytes);
    const given = left.subarray(0, sizeBytes);
    left = left.subarray(sizeBytes);
    step = decoding.next(given);
  }
  return { value: step.value, offset: cursor.offset, needs };
}

function failureOf(stream: Uint8Array, decode: (cursor: RbdCursor) => Decoding<unknown>): StreamError {
  try {
    run(stream, decode);
  } catch (error) {
    if (error instanceof StreamError) return error;
    throw error;
  }
  throw new Error("it was taken");
}

describe("RbdCursor", () => {
  test("takeNumber() is exact up to the largest number that is", () => {
    for (const value of [0n, 1n, 2n ** 32n, BigInt(Number.MAX_SAFE_INTEGER)]) {
      expect(run(bytes(le64(value)), (cursor) => cursor.takeNumber("a size")).value).toBe(Number(value));
    }
    const error = failureOf(bytes("xx", le64(2n ** 53n)), function* (cursor) {
      yield* cursor.take(2);
      yield* cursor.takeNumber("a size");
    });
    expect(error.offset).toBe(2);
    expect(error.message).toContain("a size of 9007199254740992");
  });

  test("takeName() is a copy of the name's bytes", () => {
    const stream = bytes(le32(3), "one");
    const { value, offset } = run(stream, (cursor) => cursor.takeName());
    stream.fill(0);
    expect({ name: Buffer.from(value).toString(), offset }).toEqual({ name: "one", offset: 7 });
  });

  test.each([0, 4097, 2 ** 32 - 1])(
    "takeName() refuses a name of %d bytes where its length stands",
    (length) => {
      expect(failureOf(bytes(le32(length), "x"), (cursor) => cursor.takeName()).offset).toBe(0);
    },
  );

  test("skip() passes over any length in bounded needs", () => {
    const most = 4096;
    const { offset, needs } = run(new Uint8Array(10_000), (cursor) => cursor.skip(10_000));
    expect({ offset, needs }).toEqual({ offset: 10_000, needs: [most, most, 1808] });
    expect(run(new Uint8Array(), (cursor) => cursor.skip(0)).needs).toEqual([]);
  });

  test("takeUpTo() gives what there is, all others throw at the end of it", () => {
    expect([...run(bytes("ab"), (cursor) => cursor.takeUpTo(5)).value]).toEqual([...bytes("ab")]);
    const takes: ((cursor: RbdCursor) => Decoding<unknown>)[] = [
      (cursor) => cursor.take(3),
      (cursor) => cursor.takeNumber("a size"),
      (cursor) => cursor.takeName(),
      (cursor) => cursor.skip(3),
    ];
    for (const take of takes) expect(failureOf(bytes("ab"), take).offset).toBe(2);
    expect(failureOf(bytes(), (cursor) => cursor.takeByte()).offset).toBe(0);
  });
});
