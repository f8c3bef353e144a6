import { expect, test } from "bun:test";
import { roomFor } from "../../src/store/room.ts";

test("roomFor() is the front of what the caller gave when the bytes fit", () => {
  const into = new Uint8Array(new SharedArrayBuffer(8), 2, 5);
  for (const length of [0, 3, 5]) {
    const room = roomFor(length, into);
    expect({ buffer: room.buffer === into.buffer, offset: room.byteOffset, length: room.length }).toEqual({
      buffer: true,
      offset: 2,
      length,
    });
  }
});

test("roomFor() is new room when the bytes do not fit, or nothing was given", () => {
  const into = new Uint8Array(4);
  expect(roomFor(5, into)).toEqual(new Uint8Array(5));
  expect(roomFor(5, undefined)).toEqual(new Uint8Array(5));
  expect(roomFor(5, into).buffer).not.toBe(into.buffer);
});
