/** How a volume is cut: lengths of chunks and leaves, and what is too large. */
import { expect, test } from "bun:test";
import {
  chunkLength,
  DEFAULT_CHUNK_BYTES,
  leavesBytes,
  MAX_CHUNK_BYTES,
  MAX_VOLUME_BYTES,
  maxVolumeBytes,
  MIN_CHUNK_BYTES,
} from "../../src/format/limits.ts";

test.each([
  [0, 0],
  [1, 16],
  [4096, 16],
  [4097, 32],
  [DEFAULT_CHUNK_BYTES, 16 * 1024],
])("leavesBytes(%d) is %d", (length, bytes) => expect(leavesBytes(length)).toBe(bytes));

test("chunkLength() cuts a volume into chunks that make it up, the last of them short", () => {
  const volume = { sizeBytes: 3 * 65536 + 5, chunkBytes: 65536 };
  const lengths = [0, 1, 2, 3, 4, 1e9].map((position) => chunkLength(position, volume));
  expect(lengths).toEqual([65536, 65536, 65536, 5, 0, 0]);
  expect(chunkLength(0, { sizeBytes: 0, chunkBytes: 65536 })).toBe(0);
});

test("maxVolumeBytes() is what a manifest can name, at most the limit of exact positions", () => {
  expect(maxVolumeBytes(MIN_CHUNK_BYTES)).toBe(1_200_000 * 1024 * MIN_CHUNK_BYTES);
  expect(maxVolumeBytes(MAX_CHUNK_BYTES)).toBe(MAX_VOLUME_BYTES);
  expect(Number.isSafeInteger(maxVolumeBytes(MAX_CHUNK_BYTES))).toBe(true);
});
