/** When a process that was told to end, and does not, is ended. */
import { expect, test } from "bun:test";
import { DEAF_LIMIT_MS, LIMIT_MS, Patience } from "../../src/cli/watchdog.ts";

test("Patience is over some time after a signal that the main thread does not end by, and soon after a second", () => {
  const patience = (looks: [nowMs: number, heard: number, isUnheard: boolean][]) => {
    const one = new Patience();
    return looks.map(([nowMs, heard, isUnheard]) => one.isOver({ nowMs, heard, isUnheard }));
  };
  // Nothing came; one came that nobody heard of; one that was heard of.
  expect(patience([[0, 0, false], [9_000, 0, false]])).toEqual([false, false]);
  expect(patience([[0, 0, true], [DEAF_LIMIT_MS - 1, 0, true], [DEAF_LIMIT_MS, 0, true]]))
    .toEqual([false, false, true]);
  expect(patience([[0, 0, true], [200, 1, false], [LIMIT_MS - 1, 1, false]])).not.toContain(true);
  expect(patience([[0, 1, false], [LIMIT_MS - 1, 1, false], [LIMIT_MS, 1, false]])).toEqual([
    false,
    false,
    true,
  ]);
  // A second one, which the main thread hears of in time, or does not.
  expect(patience([[0, 1, false], [200, 1, true], [400, 2, false], [900, 2, false]])).not.toContain(true);
  expect(patience([[0, 1, false], [200, 1, true], [600, 1, true]])).toEqual([false, false, true]);
});
