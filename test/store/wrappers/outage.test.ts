import { describe, expect, test } from "bun:test";
import { StoreError } from "../../../src/errors.ts";
import { reasonOf } from "../../../src/store/wrappers/reason.ts";
import { RunningTime } from "../../../src/store/wrappers/running_time.ts";
import { formatSpan } from "../../../src/store/wrappers/span.ts";

test.each([
  [0, "0 s"],
  [900, "1 s"],
  [42_000, "42 s"],
  [60_000, "1 minute"],
  [90_000, "90 s"],
  [119_600, "2 minutes"],
  [15 * 60_000, "15 minutes"],
  [60 * 60_000, "1 hour"],
  [90 * 60_000, "90 minutes"],
  [150 * 60_000, "2 hours and 30 minutes"],
  [24 * 3600_000, "24 hours"],
])("formatSpan(%d) is %s", (ms, text) => expect(formatSpan(ms)).toBe(text));

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

describe("RunningTime", () => {
  test("counts what passes, and of a longer gap no more than may pass without a word", () => {
    const time = new RunningTime(1000);
    time.pass(1500, 100_000);
    expect(time.countedMs).toBe(500);
    time.pass(201_500, 100_000);
    expect(time.countedMs).toBe(100_500);
  });
  test("begins anew when the process stood still", () => {
    const time = new RunningTime(0);
    time.pass(50_000, 70_000);
    time.pass(3 * 3600_000, 70_000);
    expect(time.countedMs).toBe(0);
  });
  test("is not confused when an earlier time comes later", () => {
    const time = new RunningTime(1000);
    time.pass(2000, 70_000);
    time.pass(500, 70_000);
    time.pass(2100, 70_000);
    expect(time.countedMs).toBe(1100);
  });
});
