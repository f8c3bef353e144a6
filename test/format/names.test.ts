/** Names that an operator may type, and those that would leave their place in the layout or garble a terminal. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UsageError } from "../../src/errors.ts";
import { backupId } from "../../src/format/backup_id.ts";
import {
  assertProjectName,
  assertVolumeName,
  isProjectName,
  isVolumeName,
  parseVolumeSpec,
  quote,
} from "../../src/format/names.ts";

const BACKUP = backupId(0, new Uint8Array(4));

/** No project and no part of a volume is called so. */
const HOSTILE = [
  ["nothing", ""],
  ["a dot", "."],
  ["two dots", ".."],
  ["a leading dot", ".hidden"],
  ["a leading dash, as of an option", "-rf"],
  ["a space", "a b"],
  ["a backslash", "a\\b"],
  ["a line break", "a\nb"],
  ["a line break at its end", "a\n"],
  ["NUL", "a\0"],
  ["an escape sequence", "\u001b[31mred"],
  ["a C1 control character", "a\u009b"],
  ["an umlaut", "ü"],
  ["a lone surrogate", "\ud800"],
  ["an at", "a@b"],
  ["a percent sign", "%2e%2e"],
  ["300 bytes", "x".repeat(300)],
  ["201 bytes", "x".repeat(201)],
] as const;

describe("assertProjectName()", () => {
  test.each(HOSTILE)("refuses %s", (_, name) => expect(() => assertProjectName(name)).toThrow(UsageError));

  test("refuses a slash", () => expect(() => assertProjectName("a/b")).toThrow(UsageError));

  test("refuses a backup's id", () => {
    const id = "20261129T050502000Z-1b4fa8a0";
    expect(() => assertProjectName(id)).toThrow("it looks like the id of a restore point");
    expect(isProjectName(id)).toBe(false);
    expect(isProjectName(`${id}x`)).toBe(true);
  });

  test.each(["a", "_a", "0", "Acme-2.db:x+y=z,~", "x".repeat(200)])("takes %s", (name) => {
    assertProjectName(name);
  });

  test("says what is wrong in one line without control characters, whatever the name is", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (name) => {
      try {
        assertProjectName(name);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
        expect((error as Error).message).toMatch(/^Cannot use [^\p{Cc}\u2028\u2029]+$/u);
      }
    }));
  });
});

describe("assertVolumeName()", () => {
  const hostile = HOSTILE.map(([what, name]) => [what, name] as const);

  test.each(hostile)("refuses %s as the whole", (_, name) => {
    expect(() => assertVolumeName(name)).toThrow(UsageError);
    expect(isVolumeName(name)).toBe(false);
  });

  test.each(hostile)("refuses %s as a part", (_, name) => {
    for (const volume of [`${name}/a`, `a/${name}`, `a/${name}/b`]) {
      expect(() => assertVolumeName(volume)).toThrow(UsageError);
      expect(isVolumeName(volume)).toBe(false);
    }
  });

  test("refuses a backup's id as a part, whose manifests would stand among another volume's", () => {
    for (const volume of [BACKUP, `a/${BACKUP}`, `${BACKUP}/a`, `a/${BACKUP}/b`]) {
      expect(() => assertVolumeName(volume)).toThrow("looks like the id of a restore point");
      expect(isVolumeName(volume)).toBe(false);
    }
  });

  test("takes parts, 200 bytes of them in all", () => {
    for (const name of ["rbd/vm-101", `${"x".repeat(99)}/${"y".repeat(100)}`]) {
      assertVolumeName(name);
      expect(isVolumeName(name)).toBe(true);
    }
    expect(() => assertVolumeName(`${"x".repeat(100)}/${"y".repeat(100)}`)).toThrow("it has 201 bytes");
  });
});

describe("parseVolumeSpec()", () => {
  test("takes the first part as the project, the rest as the volume, and all behind the first @ as the point", () => {
    expect(parseVolumeSpec("a/b")).toEqual({ project: "a", volume: "b", point: undefined });
    expect(parseVolumeSpec("a/b/c@~1")).toEqual({ project: "a", volume: "b/c", point: "~1" });
    expect(parseVolumeSpec("a/b@x/y@z")).toEqual({ project: "a", volume: "b", point: "x/y@z" });
    expect(parseVolumeSpec("a/b@")).toEqual({ project: "a", volume: "b", point: "" });
  });

  test.each(["", "a", "/b", "a/", "a//b", "../b", "a/..", "a/../b", "@x", "a@b/c"])("refuses %p", (text) => {
    expect(() => parseVolumeSpec(text)).toThrow(UsageError);
  });
});

describe("quote()", () => {
  test("escapes what would break a line, and cuts what would fill the screen", () => {
    expect(quote('a"\n\u007f\u0085\u2028')).toBe('"a\\"\\n\\u007f\\u0085\\u2028"');
    expect(quote("x".repeat(81))).toBe(`"${"x".repeat(77)}..."`);
    expect(quote("x".repeat(80))).toBe(`"${"x".repeat(80)}"`);
  });
});
