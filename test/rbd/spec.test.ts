/** How an image is named on a command line. */
import { describe, expect, test } from "bun:test";
import { UsageError } from "../../src/errors.ts";
import { imageText, isRbdSpec, parseRbdSpec } from "../../src/rbd/spec.ts";

describe("parseRbdSpec()", () => {
  test.each<[string, Partial<ReturnType<typeof parseRbdSpec>>]>([
    ["rbd:p/i", { pool: "p", image: "i" }],
    ["rbd:p/i@s", { pool: "p", image: "i", snapshot: "s" }],
    ["rbd:p/n/i", { pool: "p", namespace: "n", image: "i" }],
    ["rbd:p/n/i@s", { pool: "p", namespace: "n", image: "i", snapshot: "s" }],
    ["rbd:rbd/-i --x:y ü\n@ s ", { pool: "rbd", image: "-i --x:y ü\n", snapshot: " s " }],
  ])("reads %p", (word, expected) => {
    const spec = parseRbdSpec(word);
    expect(spec).toEqual({ namespace: undefined, snapshot: undefined, ...expected } as typeof spec);
    expect(`rbd:${imageText(spec)}${spec.snapshot === undefined ? "" : `@${spec.snapshot}`}`).toBe(word);
  });

  test.each([
    ...[
      "rbd:",
      "rbd:i",
      "rbd:/i",
      "rbd:p/",
      "rbd:p//i",
      "rbd:p/n/x/i",
      "rbd:p/i@",
      "rbd:p/i@a@b",
      "rbd:p/i@a/b",
    ],
    ...["rbd:p@s/i", "rbd:@s", "rbd:p/n/", "RBD:p/i", "xrbd:p/i"],
  ])("refuses %p", (word) => expect(() => parseRbdSpec(word)).toThrow(UsageError));
});

test("isRbdSpec() takes any word that begins so, and no path", () => {
  expect(["rbd:", "rbd:x", "./rbd:p/i", "/rbd:p/i", "rbd", "-"].map(isRbdSpec))
    .toEqual([true, true, false, false, false, false]);
});
