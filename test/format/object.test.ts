/** The header of binary objects: its bytes, and all that is no header of this format. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SEAL_BYTES, type SealKey, sealObject } from "../../src/codec/seal.ts";
import { DamageError, VarveError } from "../../src/errors.ts";
import { EntryList, wholeAt } from "../../src/format/entries.ts";
import { leavesBytes, PAGE_CHUNKS } from "../../src/format/limits.ts";
import {
  COMPRESSION,
  decodeHeader,
  encodeHeader,
  HEADER_BYTES,
  isPossibleChunkSize,
  maxObjectBytes,
  maxParts,
  OBJECT_TYPE,
  type ObjectHeader,
  type ObjectType,
} from "../../src/format/object.ts";
import { flippedBits } from "../kit/damage.ts";

const HEADER: ObjectHeader = {
  type: OBJECT_TYPE.manifest,
  compression: COMPRESSION.zstd,
  keyId: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]),
  frontBytes: 0x00020304,
  contentBytes: 0x00060708,
  plainBytes: 0x00fefdfc,
};
/** What an object of any type may be. */
const EMPTY = { frontBytes: 0, contentBytes: SEAL_BYTES, plainBytes: 0 };
const AT = { key: "projects/p/volumes/v/x", type: OBJECT_TYPE.manifest };

function failure(bytes: Uint8Array, at: Parameters<typeof decodeHeader>[1] = AT): VarveError {
  try {
    decodeHeader(bytes, at);
  } catch (error) {
    if (error instanceof VarveError) return error;
    throw error;
  }
  throw new Error("it was taken for a header");
}

describe("encodeHeader()", () => {
  test("writes the bytes that the format says", () => {
    const hex = Buffer.from(encodeHeader(HEADER)).toString("hex");
    expect(hex).toBe(
      "7661727665" + "03" + "03" + "01" + "0102030405060708" + "04030200" + "08070600" + "fcfdfe00" +
        "00000000",
    );
  });
});

describe("decodeHeader()", () => {
  test("gives back what encodeHeader() was given", () => {
    const header = fc.constantFrom(...Object.values(OBJECT_TYPE)).chain(
      (type): fc.Arbitrary<ObjectHeader> => {
        const { front, content } = maxParts(type);
        return fc.record({
          type: fc.constant(type),
          compression: fc.constantFrom(...Object.values(COMPRESSION)),
          keyId: fc.uint8Array({ minLength: 8, maxLength: 8 }),
          frontBytes: fc.integer({ min: 0, max: front }),
          contentBytes: fc.integer({ min: 0, max: content + SEAL_BYTES }),
          plainBytes: fc.integer({ min: 0, max: content }),
        });
      },
    );
    fc.assert(fc.property(header, fc.uint8Array({ maxLength: 9 }), (header, tail) => {
      const bytes = new Uint8Array([...encodeHeader(header), ...tail]);
      expect(decodeHeader(bytes, { key: "k", type: header.type })).toEqual(header);
    }));
  });

  test("says damage and the key when the header is cut", () => {
    for (let end = 0; end < HEADER_BYTES; end++) {
      const error = failure(encodeHeader(HEADER).subarray(0, end));
      expect(error).toBeInstanceOf(DamageError);
      expect(error.message).toStartWith(`Cannot read "${AT.key}": it has ${end} bytes`);
    }
  });

  test("says damage when the type is another one", () => {
    const error = failure(encodeHeader({ ...HEADER, ...EMPTY, type: OBJECT_TYPE.chunk }));
    expect([error.code, error.message]).toEqual([
      "damage",
      `Cannot read "${AT.key}": its type is 1 instead of 3`,
    ]);
  });

  test.each(Object.entries(OBJECT_TYPE))("says what another version means in a %s", (name, type) => {
    const bytes = encodeHeader({ ...HEADER, ...EMPTY, type });
    bytes[5] = 4;
    // A chunk, patch or page is read under a manifest of this version: it cannot be a later one's.
    const isNamed = ["chunk", "patch", "page"].includes(name);
    expect(failure(bytes, { ...AT, type }).code).toBe(isNamed ? "damage" : "format_version");
  });

  test("never fails with anything but an error of varve when a bit is flipped", () => {
    let noticed = 0;
    for (const bytes of flippedBits(encodeHeader(HEADER))) {
      try {
        decodeHeader(bytes, AT);
      } catch (error) {
        expect(error).toBeInstanceOf(VarveError);
        noticed++;
      }
    }
    // Magic, version, type, all but one bit of the compression, and the lengths' bits beyond what they can be; the rest is
    // for the seal to notice.
    expect(noticed).toBe((5 + 1 + 1) * 8 + 7 + 12 + 6 + 6);
  });

  test.each(Object.entries(OBJECT_TYPE))("says damage when a %s says to hold more than it can", (_, type) => {
    const { front, content } = maxParts(type);
    const frontBytes = front === 0 ? 0 : front + SEAL_BYTES;
    const fields = { frontBytes, contentBytes: content + SEAL_BYTES, plainBytes: content };
    expect(maxObjectBytes(type)).toBe(HEADER_BYTES + frontBytes + content + SEAL_BYTES);
    const full = encodeHeader({ ...HEADER, type, ...fields });
    expect(decodeHeader(full, { ...AT, type })).toMatchObject(fields);
    for (const offset of [16, 20, 24]) {
      for (const more of [2 ** 29, 2 ** 32 - 1]) {
        const bytes = full.slice();
        new DataView(bytes.buffer).setUint32(offset, more, true);
        const error = failure(bytes, { ...AT, type });
        expect(error).toBeInstanceOf(DamageError);
        expect(error.message).toBe(`Cannot read "${AT.key}": its header claims an impossible size`);
      }
    }
    for (const field of ["frontBytes", "contentBytes", "plainBytes"]) {
      const header = { ...HEADER, type, ...fields, [field]: fields[field as keyof typeof fields] + 1 };
      expect(() => encodeHeader(header)).toThrow(
        /^Cannot write an object of .* an object cannot be that large$/,
      );
    }
  });
});

describe("isPossibleChunkSize()", () => {
  const CHUNK_BYTES = 64 * 1024;
  const KEY: SealKey = { id: new Uint8Array(8), dataKey: new Uint8Array(32) };
  const sizeOf = (type: ObjectType, parts: { front?: Uint8Array; content: Uint8Array }) =>
    sealObject({ type, name: "chunks/ab/x", ...parts }, KEY).length;
  const bytes = (length: number) => crypto.getRandomValues(new Uint8Array(length));

  test("takes the smallest and largest chunk, patch and page", () => {
    const oneEntry = new EntryList(PAGE_CHUNKS);
    oneEntry.set(0, wholeAt({ id: bytes(32), lease: undefined }));
    const patches = new EntryList(PAGE_CHUNKS);
    for (let i = 0; i < PAGE_CHUNKS; i++) {
      const [object, base] = [{ id: bytes(32), lease: bytes(16) }, { id: bytes(32), lease: bytes(16) }];
      patches.set(i, { id: bytes(32), object, base });
    }
    const sizes = [
      sizeOf(OBJECT_TYPE.chunk, { front: bytes(leavesBytes(1)), content: bytes(1) }),
      sizeOf(OBJECT_TYPE.chunk, { front: bytes(leavesBytes(CHUNK_BYTES)), content: bytes(CHUNK_BYTES) }),
      sizeOf(OBJECT_TYPE.patch, { front: bytes(53), content: bytes(1) }),
      sizeOf(OBJECT_TYPE.page, { content: oneEntry.encode() }),
      sizeOf(OBJECT_TYPE.page, { content: patches.encode() }),
    ];
    for (const size of sizes) {
      expect({ size, is: isPossibleChunkSize(size, CHUNK_BYTES) }).toEqual({ size, is: true });
    }
  });

  test("takes nothing that is too short for any, or too long", () => {
    for (const size of [0, 1, HEADER_BYTES, HEADER_BYTES + 59, 40 * 1024 * 1024]) {
      expect({ size, is: isPossibleChunkSize(size, CHUNK_BYTES) }).toEqual({ size, is: false });
    }
  });
});
