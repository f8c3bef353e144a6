/** What an outage logs: when the store goes, once a minute while it is away, and when it is back. */
import { beforeEach, describe, expect, test } from "bun:test";
import { Outage } from "../../../src/store/wrappers/outage.ts";
import { unavailable } from "../../kit/faulty_store.ts";

const MINUTE_MS = 60_000;
/** Longer than any gap of these tests, so that none counts as standing still. */
const LONGEST_MS = MINUTE_MS;

let lines: string[];
let outage: Outage;
beforeEach(() => {
  lines = [];
  outage = new Outage({ name: "nas", retryForMs: 15 * MINUTE_MS, onLine: (line) => lines.push(line) });
});

function failAt(nowMs: number, startedMs = nowMs): void {
  outage.failed(unavailable(), { startedMs, nowMs, longestMs: LONGEST_MS });
}

describe("Outage", () => {
  test("lasts from the start of the first request that failed to the next good answer", () => {
    expect({ awayMs: outage.awayMs, sinceMs: outage.sinceMs }).toEqual({ awayMs: 0, sinceMs: undefined });
    failAt(3000, 1000);
    failAt(9000, 8000);
    expect({ awayMs: outage.awayMs, sinceMs: outage.sinceMs }).toEqual({ awayMs: 8000, sinceMs: 1000 });
    outage.good(10_000);
    expect({ awayMs: outage.awayMs, sinceMs: outage.sinceMs }).toEqual({ awayMs: 0, sinceMs: undefined });
  });

  test("counts the time of a request that waits", () => {
    failAt(0);
    outage.pass(30_000, LONGEST_MS);
    expect(outage.awayMs).toBe(30_000);
  });

  test("counts good answers, with and without an outage before", () => {
    outage.good(0);
    failAt(1);
    outage.good(2);
    expect(outage.answers).toBe(2);
  });

  test("logs once that the store is away, then once a minute, then that it is back", () => {
    failAt(0);
    for (let nowMs = 0; nowMs <= 2 * MINUTE_MS; nowMs += 10_000) outage.tellAway(nowMs);
    outage.good(2 * MINUTE_MS + 5000);
    expect(lines).toHaveLength(4);
    expect(lines.every((line) => line.startsWith("nas "))).toBe(true);
    expect(lines[0]).toContain("15 minutes");
    expect(lines[1]).toContain("for 1 minute");
    expect(lines[2]).toContain("for 2 minutes");
    expect(lines[3]).toMatch(/back.* 2 minutes$/);
  });

  test("logs nothing about an outage that nobody was told of", () => {
    outage.tellAway(0);
    failAt(0);
    outage.good(1000);
    expect(lines).toEqual([]);
  });

  test("logs a request that fails while others are answered at most once a minute", () => {
    for (let nowMs = 0; nowMs < 2 * MINUTE_MS; nowMs += 10_000) {
      outage.tellFailing(unavailable(), { nowMs, untilMs: MINUTE_MS });
    }
    expect(lines).toHaveLength(2);
  });
});
