/** Bytes as text and back: what is no hex and no UTF-8 is refused, never guessed at. */
import { describe, expect, test } from "bun:test";
import { concat, equalBytes, fromHex, fromUtf8, toHex, utf8 } from "../../src/util/bytes.ts";

const ALL = Uint8Array.from({ length: 256 }, (_, i) => i);

describe("toHex() and fromHex()", () => {
  test("are inverse for every byte", () => {
    expect(toHex(ALL)).toHaveLength(512);
    expect(fromHex(toHex(ALL), 256)).toEqual(ALL);
    expect(toHex(ALL.subarray(16, 18))).toBe("1011");
    expect(fromHex("", 0)).toEqual(new Uint8Array());
  });

  test.each(["0", "001", "0g", "0G", "AB", " 0", "0x"])("fromHex() refuses %p as one byte", (text) => {
    expect(fromHex(text, 1)).toBeUndefined();
  });

  test("fromHex() refuses another length than is wanted", () => {
    expect(fromHex("abcd", 1)).toBeUndefined();
    expect(fromHex("abcd", 3)).toBeUndefined();
  });
});

describe("utf8() and fromUtf8()", () => {
  test.each(["", "plain", "Größe 大 🎞", "\ufeffwith a mark", "a\0b"])("keep %p", (text) => {
    expect(fromUtf8(utf8(text))).toBe(text);
  });

  test.each([
    ["a byte that begins nothing", [0xff]],
    ["a character that is cut", [0xe5, 0xa4]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["half of a surrogate pair", [0xed, 0xa0, 0x80]],
  ])("fromUtf8() refuses %s", (_, bytes) => {
    expect(fromUtf8(Uint8Array.from(bytes))).toBeUndefined();
  });
});

test("concat() joins parts into an array of its own", () => {
  const part = Uint8Array.of(1, 2);
  const joined = concat([part, new Uint8Array(), Uint8Array.of(3)]);
  part[0] = 9;
  expect(joined).toEqual(Uint8Array.of(1, 2, 3));
});

test("equalBytes() compares content and length", () => {
  expect(equalBytes(ALL.subarray(0, 4), Uint8Array.of(0, 1, 2, 3))).toBe(true);
  expect(equalBytes(ALL.subarray(0, 4), ALL.subarray(0, 3))).toBe(false);
  expect(equalBytes(Uint8Array.of(1), Uint8Array.of(2))).toBe(false);
});
