/** Sealing: there and back, every bit that is flipped, and objects that were moved to another place. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { deriveKeys } from "../../src/codec/keys.ts";
import {
  openContent,
  openContentInto,
  openFront,
  SEAL_BYTES,
  sealedBytes,
  sealInto,
  sealObject,
} from "../../src/codec/seal.ts";
import { DamageError, VarveError } from "../../src/errors.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { decodeHeader, HEADER_BYTES, OBJECT_TYPE } from "../../src/format/object.ts";
import { flippedBits } from "../kit/damage.ts";
import { noise } from "../kit/engine.ts";

const KEY = deriveKeys(new Uint8Array(32).fill(1), "p");
const NAME = { type: OBJECT_TYPE.manifest, name: "volumes/v/1", key: "projects/p/volumes/v/1" };
const FRONT = utf8("the front");
/** Long enough for zstd to make it smaller. */
const CONTENT = utf8("the content ".repeat(9));

function sealed(content = CONTENT, front = FRONT): Uint8Array {
  return sealObject({ ...NAME, content, front }, KEY);
}

function shared(length: number): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(new SharedArrayBuffer(length));
}

const content = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.nat(300_000).map((length) => new Uint8Array(length)),
  fc.tuple(fc.nat(), fc.nat(300_000)).map(([seed, length]) => noise(seed, length)),
);

describe("openContent() and openFront()", () => {
  test("give back what sealObject() was given", () => {
    fc.assert(
      fc.property(content, fc.uint8Array({ minLength: 1, maxLength: 100 }), (content, front) => {
        const bytes = sealed(content, front);
        expect(Buffer.compare(openContent(bytes, NAME, KEY), content)).toBe(0);
        expect(openFront(bytes, NAME, KEY)).toEqual(front);
        expect(bytes.length).toBeLessThanOrEqual(sealedBytes(front.length, content.length));
      }),
      { numRuns: 50 },
    );
  });

  test("refuse the bytes with any bit flipped", () => {
    const bytes = sealed();
    const frontEnd = HEADER_BYTES + FRONT.length + SEAL_BYTES;
    let bit = 0;
    for (const changed of flippedBits(bytes)) {
      const at = bit++ >>> 3;
      const inFront = at < frontEnd, inContent = at < HEADER_BYTES || at >= frontEnd;
      if (inFront) expect(() => openFront(changed, NAME, KEY)).toThrow(VarveError);
      if (inContent) expect(() => openContent(changed, NAME, KEY)).toThrow(VarveError);
    }
  });

  test("refuse content that was stored as it is with any bit flipped", () => {
    const bytes = sealed(noise(1, 40), new Uint8Array());
    expect(decodeHeader(bytes, NAME).compression).toBe(0);
    for (const changed of flippedBits(bytes)) {
      expect(() => openContent(changed, NAME, KEY)).toThrow(VarveError);
    }
  });

  test("refuse the bytes when they are cut anywhere or go on", () => {
    const bytes = sealed();
    for (let end = 0; end < bytes.length; end++) {
      expect(() => openContent(bytes.subarray(0, end), NAME, KEY)).toThrow(DamageError);
    }
    expect(() => openContent(new Uint8Array([...bytes, 0]), NAME, KEY)).toThrow("its length is wrong");
  });

  test("openFront() needs the bytes up to the front's end, and no more", () => {
    const bytes = sealed();
    const end = HEADER_BYTES + FRONT.length + SEAL_BYTES;
    expect(openFront(bytes.subarray(0, end), NAME, KEY)).toEqual(FRONT);
    for (let short = 0; short < end; short++) {
      expect(() => openFront(bytes.subarray(0, short), NAME, KEY)).toThrow(DamageError);
    }
  });

  test("refuse an object that was moved to another name", () => {
    const moved = { ...NAME, name: "volumes/v/2" };
    expect(() => openContent(sealed(), moved, KEY)).toThrow(DamageError);
    expect(() => openFront(sealed(), moved, KEY)).toThrow(DamageError);
  });

  test("refuse sections that changed places", () => {
    const bytes = sealed(noise(2, 9), FRONT);
    const middle = HEADER_BYTES + FRONT.length + SEAL_BYTES;
    const swapped = new Uint8Array([
      ...bytes.subarray(0, HEADER_BYTES),
      ...bytes.subarray(middle),
      ...bytes.subarray(HEADER_BYTES, middle),
    ]);
    expect(swapped.length).toBe(bytes.length);
    expect(() => openContent(swapped, NAME, KEY)).toThrow(DamageError);
    expect(() => openFront(swapped, NAME, KEY)).toThrow(DamageError);
  });

  test("refuse a section under the header of another writing of the same object", () => {
    // Same name, lengths and keys, but one content is compressed.
    const [plain, packed] = [sealed(noise(3, 40)), sealed(new Uint8Array(4_000))];
    const mixed = new Uint8Array([...packed.subarray(0, HEADER_BYTES), ...plain.subarray(HEADER_BYTES)]);
    expect(() => openFront(mixed, NAME, KEY)).toThrow(DamageError);
  });

  test("refuse an object that another project sealed", () => {
    const other = deriveKeys(new Uint8Array(32).fill(2), "p");
    expect(() => openContent(sealed(), NAME, other)).toThrow("it was changed, or encrypted with another key");
  });
});

describe("sealInto() and openContentInto()", () => {
  test("work over shared memory, and write nothing behind their room", () => {
    // Stored as it is, in one piece, in several, and nothing at all.
    const halves = noise(7, 600_000).map((byte) => byte & 15);
    for (const bytes of [noise(4, 70_000), new Uint8Array(300_000).fill(5), halves, new Uint8Array()]) {
      const content = shared(bytes.length);
      content.set(bytes);
      const out = shared(sealedBytes(FRONT.length, content.length) + 1).fill(0xee);
      const end = sealInto(out, { ...NAME, front: FRONT, content }, KEY);
      expect(end).toBeLessThan(out.length);
      expect(out.at(-1)).toBe(0xee);
      const opened = shared(bytes.length + 1).fill(0xdd);
      const scratch = new Uint8Array(out.length);
      const length = openContentInto(opened, out.subarray(0, end), { object: NAME, key: KEY, scratch });
      expect(length).toBe(bytes.length);
      expect(Buffer.compare(opened.subarray(0, length), bytes)).toBe(0);
      expect(opened[length]).toBe(0xdd);
    }
  });

  test("openContentInto() says damage when the content is longer than the room for it", () => {
    for (const content of [noise(5, 100), new Uint8Array(100)]) {
      const options = { object: NAME, key: KEY, scratch: new Uint8Array(200) };
      expect(() => openContentInto(new Uint8Array(99), sealed(content), options)).toThrow(DamageError);
    }
  });

  test("sealObject() takes a new nonce each time, also for the same bytes", () => {
    const nonce = (bytes: Uint8Array) =>
      Buffer.from(bytes.subarray(HEADER_BYTES, HEADER_BYTES + 12)).toString("hex");
    expect(nonce(sealed())).not.toBe(nonce(sealed()));
  });

  test("sealObject() stores content as it is when zstd does not make it smaller", () => {
    const compressions = [noise(6, 5_000), new Uint8Array(5_000), new Uint8Array()].map((content) =>
      decodeHeader(sealed(content), NAME).compression
    );
    expect(compressions).toEqual([0, 1, 0]);
  });
});
