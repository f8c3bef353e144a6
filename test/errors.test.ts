import { describe, expect, test } from "bun:test";
import {
  DamageError,
  describeError,
  escapeControls,
  escapeJson,
  escapeLine,
  MissingError,
  VarveError,
} from "../src/errors.ts";

describe("describeError()", () => {
  const caused = (message: string, cause: unknown) => new Error(message, { cause });

  test("joins the causes in one line when there are several", () => {
    const error = new VarveError("failed", "Cannot do it", {
      cause: caused("first\nline", new Error("last")),
    });
    expect(describeError(error)).toBe("Cannot do it: first line: last");
  });

  test("leaves out what was said when a cause repeats it", () => {
    expect(describeError(caused("Cannot read: EIO", caused("EIO", new Error("disk"))))).toBe(
      "Cannot read: EIO: disk",
    );
  });

  test("describes a failed system call once, with its code", () => {
    const call = caused("ENOSPC: no space left on device, write", undefined);
    const renamed = caused("ENOENT: no such file or directory, rename '/a, b' -> '/c'", undefined);
    expect(describeError(caused("Cannot write", call))).toBe(
      "Cannot write: no space left on device (ENOSPC)",
    );
    expect(describeError(caused("Cannot write: the disk is full (ENOSPC)", call)))
      .toBe("Cannot write: the disk is full (ENOSPC)");
    expect(describeError(renamed)).toBe("no such file or directory (ENOENT)");
    const read = new Error("EISDIR: illegal operation on a directory, read");
    expect(
      describeError(caused("Cannot read", caused("ENOENT: no such file or directory, open '/it's'", read))),
    )
      .toBe("Cannot read: no such file or directory (ENOENT): illegal operation on a directory (EISDIR)");
  });

  test("takes a cause's message when it is no error", () => {
    expect(describeError(caused("Cannot start", new ErrorEvent("error", { message: "no such module" }))))
      .toBe("Cannot start: no such module");
    expect(describeError(caused("Cannot start", "text"))).toBe("Cannot start: text");
  });

  test("escapes control characters, which could steer a terminal", () => {
    expect(describeError(caused("Cannot read", new Error("a\u001b[31mb\u0007\r\nc\u009b"))))
      .toBe("Cannot read: a\\x1b[31mb\\x07 c\\x9b");
  });
});

describe("escapeJson()", () => {
  test("leaves JSON what it is, without a character that could steer a terminal", () => {
    const value = { "\u009b\u202e": "a\u007f\u001b\u2028\n€" };
    const text = escapeJson(JSON.stringify(value));
    expect(text).toBe('{"\\u009b\\u202e":"a\\u007f\\u001b\\u2028\\n€"}');
    expect(JSON.parse(text)).toEqual(value);
  });
});

describe("escapeControls()", () => {
  test("leaves text, tabs and newlines as they are", () => {
    const text = "zwölf\t€ 𝄞\n";
    expect(escapeControls(text)).toBe(text);
    expect(escapeControls("\0\u007f\u0085\r\u202e")).toBe("\\x00\\x7f\\x85\\x0d\\u202e");
  });

  test("escapes what shows a text in another order, or ends a line", () => {
    for (const code of [0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2066, 0x2069]) {
      expect(escapeControls(`a${String.fromCharCode(code)}b`)).toBe(
        `a\\u${code.toString(16).padStart(4, "0")}b`,
      );
    }
  });
});

describe("escapeLine()", () => {
  test("escapes tabs and newlines, too", () => {
    expect(escapeLine("zwölf\t€\n𝄞\r\u202e")).toBe("zwölf\\x09€\\x0a𝄞\\x0d\\u202e");
  });
});

test("an object that is missing, and that nobody can do without, is damage for the exit code", () => {
  expect(new MissingError("key", "Cannot read it: no such object").code).toBe("damage");
  expect(new DamageError("key", "Cannot read it: it was changed").code).toBe("damage");
});
