/** Paths in a folder that a host keeps for itself. */
import { expect, test } from "bun:test";
import { pathOf, within } from "../../src/os/own_path.ts";

test("within() stays below the same root, and pathOf() is the whole path", () => {
  const place = within({ root: "/home/a", path: "r" }, "p", "volumes/vm");
  expect(place).toEqual({ root: "/home/a", path: "r/p/volumes/vm" });
  expect(pathOf(place)).toBe("/home/a/r/p/volumes/vm");
  expect(within({ root: "/a", path: "r" }, "")).toEqual({ root: "/a", path: "r" });
});
