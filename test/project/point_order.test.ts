/** The order in which backups were made, where a clock was wrong once. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { orderPoints } from "../../src/project/point_order.ts";

/** Backups as `id` or `id:passed,over`, in the order of their ids. */
function order(text: string): { made: string; dated: string } {
  const infos = text.split(" ").map((word) => {
    const [backup = "", over] = word.split(":");
    return over === undefined ? { backup } : { backup, passed_over: over.split(",") };
  });
  const { made, dated } = orderPoints(infos);
  return { made: made.join(" "), dated: dated.join(" ") };
}

describe("orderPoints()", () => {
  test.each([
    ["nothing was wrong", "a b c", "a b c", "a b c"],
    ["a clock was ahead once", "a b:x c:x x", "a x b c", "a b c"],
    ["it was ahead, and its date has come", "a b:x x y", "a x b y", "a b y"],
    ["it was ahead twice, by different times", "a b:y,x c:y,x x:y y", "a y x b c", "a b c"],
    ["the backup that was ahead was forgotten", "a b:x c:x", "a b c", "a b c"],
    ["those that named it were forgotten", "a x y", "a x y", "a x y"],
    ["a clock was put back", "0:a,b a b", "a b 0", "a b"],
    ["it was put back, and set again", "0:a,b a b c", "a b 0 c", "a b c"],
    ["it was put back for two backups", "0:a,b,c 1:a,b,c a b c d", "a b c 0 1 d", "a b c d"],
    ["the newest from before was forgotten", "0:a,b,c a b d", "a b 0 d", "a b d"],
    ["nobody knows which of two clocks was wrong", "a:x x", "x a", "a"],
  ])("is right when %s", (_, text, made, dated) => {
    expect(order(text)).toEqual({ made, dated });
  });

  test("is that in which they were made, whatever the clock says", () => {
    fc.assert(fc.property(fc.uniqueArray(fc.integer({ min: 100, max: 999 }), { maxLength: 30 }), (dates) => {
      const made = dates.map(String);
      const infos = made.map((backup, at) => ({
        backup,
        passed_over: made.slice(0, at).filter((earlier) => earlier > backup),
      }));
      const found = orderPoints(infos.toSorted((a, b) => Number(a.backup) - Number(b.backup)));
      expect(found.made).toEqual(made);
      expect(found.dated).toEqual(found.dated.toSorted());
    }));
  });
});
