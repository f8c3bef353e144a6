/** Which snapshot a backup of an image begins at. */
import { describe, expect, test } from "bun:test";
import { chooseSince } from "../../src/sources/rbd_since.ts";
import type { EarlierPoint } from "../../src/sources/source.ts";

function snapshot(id: number, name = `s${id}`) {
  return { id, name, isProtected: false };
}

function point(
  id: number,
  { source = "x", name = `s${id}` }: { source?: string; name?: string } = {},
): EarlierPoint {
  return { backup: `of ${id}`, to_snapshot: name, source_id: source, source_snapshot_id: String(id) };
}

/** Of image `x` with these snapshots, the last of which is backed up. */
function choose(snapshots: ReturnType<typeof snapshot>[], points: EarlierPoint[]) {
  return chooseSince({ sourceId: "x", to: snapshots.at(-1)!, snapshots }, points);
}

describe("chooseSince()", () => {
  test("takes the newest snapshot that was backed up, whichever point is the newest", () => {
    expect(choose([snapshot(1), snapshot(2), snapshot(3), snapshot(9)], [point(1), point(2)]))
      .toEqual({ snapshot: snapshot(2) });
  });

  test("takes that one itself once more, but none that is newer", () => {
    const snapshots = [snapshot(1), snapshot(2), snapshot(3)];
    const since = (to: number, points: EarlierPoint[]) =>
      chooseSince({ sourceId: "x", to: snapshots[to - 1]!, snapshots }, points);
    expect(since(2, [point(3), point(2), point(1)])).toEqual({ snapshot: snapshots[1] });
    expect(since(2, [point(3), point(1)])).toEqual({ snapshot: snapshots[0] });
    expect(since(1, [point(3)])).toEqual({
      snapshot: undefined,
      reason: "none of its snapshots that were backed up exists any more",
    });
  });

  test("goes full without a word for the first point", () =>
    expect(choose([snapshot(1)], [])).toEqual({ snapshot: undefined }));

  test.each<[string, EarlierPoint[], string]>([
    ["of another image", [point(5, { source: "y" })], "it is not the image that was backed up before"],
    ["that is gone", [point(4)], "none of its snapshots that were backed up exists any more"],
    ["that was made anew", [point(4, { name: "s5" })], 'its snapshot "s5" was recreated'],
    [
      "that has another name now",
      [point(5, { name: "old" })],
      "none of its snapshots that were backed up exists any more",
    ],
    [
      "without ids",
      [{ backup: "b", to_snapshot: "s5" }],
      "its restore points do not record the id of their image",
    ],
  ])("goes full and says why where there is only a point %s", (_, points, reason) => {
    const since = choose([snapshot(5), snapshot(9)], points);
    expect(since).toEqual({ snapshot: undefined, reason: expect.stringContaining(reason) });
  });
});
