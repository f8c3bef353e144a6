/** How long an outage lasted, in the words of a log line. */
import { expect, test } from "bun:test";
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
