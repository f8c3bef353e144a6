/** Why a store is away, in the words of a log line. */
import { describe, expect, test } from "bun:test";
import { StoreError } from "../../../src/errors.ts";
import { reasonOf } from "../../../src/store/wrappers/reason.ts";

describe("reasonOf()", () => {
  const HEX = "0123456789abcdef".repeat(4);
  test.each([
    [`Cannot write "s3://b/${HEX}": no connection to "h:9000" (ECONNREFUSED)`, "connection refused"],
    [`Cannot write "s3://b/${HEX}": no connection to "h:9000" (EWHATEVER)`, "no connection (EWHATEVER)"],
    [
      `Cannot read "s3://b/x": "h:9000" made no progress for 60 s`,
      "it made no progress for 60 s",
    ],
    [`Cannot read "s3://b/x": "h:9000" answered (503 SlowDown)`, "it answered (503 SlowDown)"],
    ['Cannot open "/mnt/nas": stale file handle (ESTALE)', "stale file handle (ESTALE)"],
    [`Something with ${HEX} in it`, "Something with … in it"],
  ])("of %p is %p", (message, reason) => {
    expect(reasonOf(new StoreError(message, { retryable: true }), "h:9000")).toBe(reason);
  });
});
