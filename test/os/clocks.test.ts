/** The clocks of this host: each goes on, and none goes back while nobody sets it. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { readSystemClocks } from "../../src/os/clocks.ts";

test("readSystemClocks() reads the wall clock, the monotonic one and the one since boot, in milliseconds", () => {
  const uptimeMs = Number.parseFloat(readFileSync("/proc/uptime", "utf8")) * 1000;
  const clocks = readSystemClocks();
  const [wall, monotonic, boot] = ["wall", "monotonic", "since boot"].map((kind) =>
    Object.entries(clocks).find(([name]) => name.includes(kind))![1]
  );
  expect(Math.abs(wall! - Date.now())).toBeLessThan(10_000);
  expect(Math.abs(monotonic! - performance.now())).toBeLessThan(10_000);
  expect(Math.abs(boot! - uptimeMs)).toBeLessThan(10_000);
});

test("readSystemClocks() has the same clocks each time, all of which go on", async () => {
  const before = readSystemClocks();
  await Bun.sleep(25); // the clock since boot counts hundredths of a second
  const after = readSystemClocks();
  expect(Object.keys(after)).toEqual(Object.keys(before));
  for (const [name, ms] of Object.entries(before)) expect(after[name]).toBeGreaterThan(ms);
});
