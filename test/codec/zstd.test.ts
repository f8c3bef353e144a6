/** Both zstd implementations: each reads what the other wrote, and both keep to the room they are given. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { bunZstd, type Zstd, zstd } from "../../src/codec/zstd.ts";
import { noise } from "../kit/engine.ts";

const BOTH: Zstd[] = [zstd(), bunZstd];
const PAIRS = BOTH.flatMap((writer) =>
  BOTH.map((reader) => [writer.name, reader.name, { writer, reader }] as const)
);

/** Compresses well and differs by seed. */
const content = fc.tuple(fc.nat(), fc.nat(40_000)).map(([seed, length]) =>
  noise(seed, length).map((byte, at) => at % 8 === 0 ? byte : 0)
);

function frame(by: Zstd, bytes: Uint8Array, room = bytes.length + 1024): Uint8Array {
  const target = new Uint8Array(room);
  return target.subarray(0, by.compress(bytes, target)!);
}

test("zstd() is the addon where it can be loaded", () => expect(zstd().name).toBe("zstd-napi"));

describe.each(PAIRS)("what %s wrote, %s", (_writer, _reader, { writer, reader }) => {
  test("decompress() gives back", () => {
    fc.assert(
      fc.property(content, (bytes) => {
        const out = new Uint8Array(bytes.length);
        expect(reader.decompress(frame(writer, bytes), out)).toBe(bytes.length);
        expect(Buffer.compare(out, bytes)).toBe(0);
      }),
      { numRuns: 25 },
    );
  });

  test("decompress() gives back from and to shared memory", () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(30_000)).fill(3);
    const packed = frame(writer, bytes);
    const source = new Uint8Array(new SharedArrayBuffer(packed.length));
    source.set(packed);
    const out = new Uint8Array(new SharedArrayBuffer(bytes.length));
    expect(reader.decompress(source, out)).toBe(bytes.length);
    expect(Buffer.compare(out, bytes)).toBe(0);
  });

  test("decompress() throws when it does not fit, and writes nothing behind its room", () => {
    const room = new Uint8Array(9_999);
    const out = room.subarray(0, 5_000);
    expect(() => reader.decompress(frame(writer, new Uint8Array(9_000).fill(1)), out)).toThrow();
    expect(room.subarray(5_000).every((byte) => byte === 0)).toBe(true);
  });

  test("decompress() throws when the frame is cut", () => {
    const packed = frame(writer, noise(1, 2_000));
    const out = new Uint8Array(2_000);
    expect(() => reader.decompress(packed.subarray(0, packed.length - 1), out)).toThrow();
  });
});

describe.each(BOTH.map((one) => [one.name, one] as const))("%s", (_, one) => {
  test("compress() gives undefined when the frame does not fit, and works on", () => {
    expect(one.compress(noise(2, 4_096), new Uint8Array(4_095))).toBeUndefined();
    expect(one.compress(noise(2, 4_096), new Uint8Array(0))).toBeUndefined();
    expect(frame(one, new Uint8Array(4_096)).length).toBeLessThan(50);
  });
});
