import { describe, expect, test } from "bun:test";
import { describeError, VarveError } from "../src/errors.ts";

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

  test("takes a cause's message when it is no error", () => {
    expect(describeError(caused("Cannot start", new ErrorEvent("error", { message: "no such module" }))))
      .toBe("Cannot start: no such module");
    expect(describeError(caused("Cannot start", "text"))).toBe("Cannot start: text");
  });
});
