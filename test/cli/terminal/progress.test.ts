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
    progress.update({ doneBytes: 0, sizeBytes: 100 * MIB, workBytes: 0, notes: [], ...state });
  };
  return { lines, progress, at };
}

test("update() shows bar, bytes, rate, time left and notes when work goes on", () => {
  const { lines, at } = setUp();
  at(0, { doneBytes: 0, workBytes: 0 });
  at(1000, { doneBytes: 25 * MIB, workBytes: 10 * MIB, notes: ["new 1 MiB", "reused 9 MiB"] });
  expect(lines.at(-1)).toBe(
    "[#####...............]  25%  25.0 MiB of 100 MiB  10.0 MiB/s  ETA 0:03  new 1 MiB  reused 9 MiB",
  );
});

test("update() shows no bar and no time left when the size is not known", () => {
  const { lines, at } = setUp();
  at(0, { sizeBytes: undefined });
  at(2000, { sizeBytes: undefined, doneBytes: 4 * MIB, workBytes: 4 * MIB });
  expect(lines.at(-1)).toBe("4.00 MiB  2.00 MiB/s");
});

test("update() shows a full bar when the volume has no bytes", () => {
  const { lines, at } = setUp();
  at(0, { sizeBytes: 0 });
  expect(lines.at(-1)).toBe("[####################] 100%  0 B of 0 B  0 B/s");
});

test("update() draws ten times a second when it is called more often", () => {
  const { lines, at } = setUp();
  for (let ms = 0; ms < 1000; ms++) at(ms, { doneBytes: ms });
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

test("Progress shows nothing when it is not enabled, or there is no terminal", () => {
  for (const options of [{ enabled: false }, { isTerminal: false }]) {
    const { lines, progress, at } = setUp(options);
    at(0, {});
    progress.end("summary\n");
    expect(lines).toEqual([]);
  }
});

test("end() replaces the line by the summary when there is one", () => {
  const { lines, progress, at } = setUp();
  at(0, {});
  progress.end("summary\n");
  progress.end();
  expect(lines.slice(1)).toEqual(["", "summary\n"]);
});
