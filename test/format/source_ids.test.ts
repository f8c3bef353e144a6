/** Ids of sources: what can be one, and what two that may not be known say of each other. */
import { describe, expect, test } from "bun:test";
import { idsDiffer, idsMatch, isSourceId, knownIds } from "../../src/format/source_ids.ts";

describe("isSourceId()", () => {
  test.each(["1a2b3c", "rbd:pool/image", "ä", "x".repeat(200)])("takes %p", (id) => {
    expect(isSourceId(id)).toBe(true);
  });
  test.each([
    ["nothing", ""],
    ["two words", "a b"],
    ["a newline", "a\n"],
    ["a control character", "a\u0000"],
    ["an invisible one", "a\u200b"],
    ["what is too long", "x".repeat(201)],
    ["a number", 5],
    ["null", null],
  ])("refuses %s", (_, id) => expect(isSourceId(id)).toBe(false));
});

test.each([
  ["a", "a", { match: true, differ: false }],
  ["a", "b", { match: false, differ: true }],
  ["a", undefined, { match: false, differ: false }],
  [undefined, "b", { match: false, differ: false }],
  [undefined, undefined, { match: false, differ: false }],
])("of %p and %p it is known: %p", (a, b, known) => {
  expect({ match: idsMatch(a, b), differ: idsDiffer(a, b) }).toEqual(known);
});

test("knownIds() has null for each id that is not known", () => {
  expect(knownIds({})).toEqual({ source_id: null, source_snapshot_id: null, from_snapshot_id: null });
  expect(knownIds({ source_id: "a", from_snapshot_id: undefined })).toEqual({
    source_id: "a",
    source_snapshot_id: null,
    from_snapshot_id: null,
  });
});
