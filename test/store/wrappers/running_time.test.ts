/** Time that counts as waiting, and time in which the process stood still. */
import { describe, expect, test } from "bun:test";
import { RunningTime } from "../../../src/store/wrappers/running_time.ts";

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
