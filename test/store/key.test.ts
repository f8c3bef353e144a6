/** Which keys, prefixes and ranges every store refuses, before a path is made of them. */
import { describe, expect, test } from "bun:test";
import { StoreError } from "../../src/errors.ts";
import { assertPrefix, assertRange, checkKey, isKey } from "../../src/store/key.ts";

const VALID = [
  "a",
  "varve.json",
  "projects/acme/chunks/14/14a1",
  "a b/c~d",
  "..a/b",
  "a/...",
  ".hidden/x",
  "a/.b",
  "-/_",
  "x".repeat(1024),
];
const INVALID = [
  "",
  "/",
  "/a",
  "a/",
  "a//b",
  ".",
  "..",
  "../a",
  "a/..",
  "a/../b",
  "a/./b",
  "./a",
  "a\0",
  "a\nb",
  "a/\x7f",
  "Größe",
  "x".repeat(1025),
];

describe("isKey() and checkKey()", () => {
  test.each(VALID)("take %p", (key) => {
    expect(isKey(key)).toBe(true);
    expect(() => checkKey(key)).not.toThrow();
  });

  test.each(INVALID)("refuse %p", (key) => {
    expect(isKey(key)).toBe(false);
    expect(() => checkKey(key)).toThrow(StoreError);
  });
});

describe("assertPrefix()", () => {
  test.each(["", "a", "projects/", "projects/ac", "projects/acme/chunks/14"])("takes %p", (prefix) => {
    expect(() => assertPrefix(prefix)).not.toThrow();
  });

  test.each(["/", "/a", "a//", "../", "a/../", "a/./b"])("refuses %p", (prefix) => {
    expect(() => assertPrefix(prefix)).toThrow(StoreError);
  });
});

describe("assertRange()", () => {
  test("takes no range, and one of a byte or more", () => {
    expect(() => assertRange(undefined)).not.toThrow();
    expect(() => assertRange({ offset: 0, length: 1 })).not.toThrow();
  });

  test.each([[-1, 1], [0, 0], [0, -1], [0.5, 1], [0, 1.5], [2 ** 53, 1], [0, Infinity], [NaN, 1]])(
    "refuses offset %p with length %p",
    (offset, length) => expect(() => assertRange({ offset, length })).toThrow(RangeError),
  );
});
