/** What a file system answers, in words. */
import { expect, test } from "bun:test";
import { describeFileError } from "../../src/os/file_error.ts";

const failure = (code: string) => Object.assign(new Error("open '/proc/self/fd/9/x'"), { code });

test.each([
  ["a known code", failure("ENOSPC"), "no space left on the device (ENOSPC)"],
  ["another code, and no path by a descriptor", failure("EXDEV"), "the file system failed (EXDEV)"],
  ["an error without one", new Error("it is a link"), "it is a link"],
  ["what is no error", "text", "text"],
])("describeFileError() of %s", (_, error, words) => {
  expect(describeFileError(error)).toBe(words);
});
