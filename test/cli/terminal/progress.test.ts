import { expect, test } from "bun:test";
import { Progress, type ProgressState } from "../../../src/cli/terminal/progress.ts";
import { Screen } from "../../../src/cli/terminal/screen.ts";

const MIB = 1 << 20;

function setUp(options: { enabled?: boolean; isTerminal?: boolean } = {}) {
  const lines: string[] = [];
  const { enabled = true, isTerminal = true } = options;
  const screen = new Screen({
    isTerminal,
    columns: () => 200,
    write: (text) => lines.push(String(text).replace("\r\u001b[K", "")),
  });
  const clock = { ms: 0 };
  const progress = new Progress(screen, { enabled, now: () => clock.ms });
  const at = (ms: number, state: Partial<ProgressState>) => {
    clock.ms = ms;
    progress.update({ done: 0, total: 100 * MIB, workBytes: 0, notes: [], ...state });
  };
  return { lines, progress, at };
}

test("update() shows bar, bytes, rate, time left and notes when work goes on", () => {
  const { lines, at } = setUp();
  at(0, { done: 0, workBytes: 0 });
  at(1000, { done: 25 * MIB, workBytes: 10 * MIB, notes: ["new 1 MiB", "reused 9 MiB"] });
  expect(lines.at(-1)).toBe(
    "[#####...............]  25%  25.0 MiB of 100 MiB  10.0 MiB/s  ETA 0:03  new 1 MiB  reused 9 MiB",
  );
});

test("update() shows no bar and no time left when the size is not known", () => {
  const { lines, at } = setUp();
  at(0, { total: undefined });
  at(2000, { total: undefined, done: 4 * MIB, workBytes: 4 * MIB });
  expect(lines.at(-1)).toBe("4.00 MiB  2.00 MiB/s");
});

test("update() shows a full bar when the volume has no bytes", () => {
  const { lines, at } = setUp();
  at(0, { total: 0 });
  expect(lines.at(-1)).toBe("[####################] 100%  0 B of 0 B  0 B/s");
});

test("update() draws ten times a second when it is called more often", () => {
  const { lines, at } = setUp();
  for (let ms = 0; ms < 1000; ms++) at(ms, { done: ms });
  expect(lines.length).toBe(10);
});

test("update() follows a changed rate smoothly when the work slows down", () => {
  const { lines, at } = setUp();
  at(0, {});
  at(1000, { workBytes: 10 * MIB });
  at(2000, { workBytes: 10 * MIB });
  const rate = Number(/([\d.]+) MiB\/s/.exec(lines.at(-1)!)![1]);
  expect(rate).toBeGreaterThan(8);
  expect(rate).toBeLessThan(9);
});

test("update() counts in the unit that is given, with its rate and time left", () => {
  const { lines, at } = setUp();
  const state = { total: 40, unit: "chunk", workBytes: undefined };
  at(0, state);
  at(1000, { ...state, done: 10 });
  expect(lines.at(-1)).toBe("[#####...............]  25%  10 of 40 chunks  10 chunks/s  ETA 0:03");
  at(2000, { ...state, done: 5 });
  expect(lines.at(-1)).toMatch(/ 5 of 40 chunks {2}\d chunks?\/s /);
});

test("Progress shows nothing when it is not enabled, or there is no terminal", () => {
  for (const options of [{ enabled: false }, { isTerminal: false }]) {
    const { lines, progress, at } = setUp(options);
    at(0, {});
    progress.end();
    expect(lines).toEqual([]);
  }
});

test("end() erases the line, once", () => {
  const { lines, progress, at } = setUp();
  at(0, {});
  progress.end();
  progress.end();
  expect(lines.slice(1)).toEqual([""]);
});
