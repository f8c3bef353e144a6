/** When the garbage is collected: after enough work, and not before. */
import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import { collectGarbage, noteAllocation } from "../../src/os/heap.ts";

let collections: ReturnType<typeof spyOn<typeof Bun, "gc">>;
beforeEach(() => void (collections = spyOn(Bun, "gc").mockImplementation(() => {})));
afterEach(() => void collections.mockRestore());

/** How much work it takes until the next collection. */
function workUntilCollection(weight?: number): number {
  const before = collections.mock.calls.length;
  for (let work = 1;; work++) {
    noteAllocation(weight);
    if (collections.mock.calls.length > before) return work;
  }
}

test("noteAllocation() collects after as much work each time, however the work is weighed", () => {
  workUntilCollection(); // what was done before this test
  const single = workUntilCollection();
  expect(single).toBeGreaterThan(16);
  expect(workUntilCollection()).toBe(single);
  expect(workUntilCollection(4)).toBe(Math.ceil(single / 4));
  expect(workUntilCollection(single)).toBe(1);
});

test("collectGarbage() is a full collection", () => {
  collectGarbage();
  expect(collections.mock.calls).toEqual([[true]]);
});
