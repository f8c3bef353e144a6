import { expect, test } from "bun:test";
import { randomBytes } from "../../src/util/random.ts";
import { toHex } from "../../src/util/bytes.ts";

test("randomBytes() gives as many bytes as it is asked for, never the same twice", () => {
  expect([0, 1, 32, 100_000].map((count) => randomBytes(count).length)).toEqual([0, 1, 32, 100_000]);
  const drawn = new Set(Array.from({ length: 100 }, () => toHex(randomBytes(16))));
  expect(drawn.size).toBe(100);
});

test("randomBytes() leaves no value out", () => {
  // That one of 256 values is absent from 16 KiB has a chance of 256 * (255 / 256) ** 16384, about 1e-25.
  expect(new Set(randomBytes(16 * 1024)).size).toBe(256);
});
