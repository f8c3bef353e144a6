/** What may stand behind the @. */
import { describe, expect, test } from "bun:test";
import { resolvePoint } from "../../src/project/point.ts";
import { backupId } from "../../src/format/backup_id.ts";
import type { SnapshotJson } from "../../src/format/snapshot_name.ts";
import { errorOf } from "../kit/engine.ts";

/** An id of the local time that an operator would write. */
function at(time: string, random = 0): string {
  return backupId(new Date(time).getTime(), new Uint8Array(4).fill(random));
}

const MAY = at("2026-05-31T23:59:59.999");
const NOON = at("2026-06-01T12:00:00.000");
const NOON_TOO = at("2026-06-01T12:00:00.000", 1);
const NIGHT = at("2026-06-02T23:30:15.500");
const IDS = [MAY, NOON, NOON_TOO, NIGHT];
const NOW_MS = new Date("2026-06-03T08:00:00.000").getTime();
const NAMES: SnapshotJson[] = ["weekly", "daily", { base64: "/w==" }, "daily"];

function resolve(point: string, options: { ids?: string[]; names?: SnapshotJson[] } = {}): Promise<string> {
  const { ids = IDS, names = NAMES } = options;
  return resolvePoint(point, {
    thing: "acme/v",
    ids,
    snapshots: () => Promise.resolve(names),
    nowMs: NOW_MS,
  });
}

describe("resolvePoint()", () => {
  test.each([
    ["latest", NIGHT],
    ["~0", NIGHT],
    ["~1", NOON_TOO],
    ["~3", MAY],
    [NOON, NOON],
    [NOON.slice(0, -6), NOON],
    [MAY.slice(0, 19), MAY],
    ["01010101", NOON_TOO],
    ["0101", NOON_TOO],
    ["id:01010101", NOON_TOO],
  ])("takes %s for the place, the beginning of an id, or that of its random end", async (point, id) => {
    expect(await resolve(point)).toBe(id);
  });

  test.each(["latest", "~1", NOON])("does not look through all backups for %s", async (point) => {
    const snapshots = () => Promise.reject(new Error("read"));
    await resolvePoint(point, { thing: "acme/v", ids: IDS, snapshots, nowMs: NOW_MS });
  });

  test("takes a snapshot's name for its newest backup", async () => {
    expect(await resolve("daily")).toBe(NIGHT);
    expect(await resolve("weekly")).toBe(MAY);
  });

  test("takes a name for that name before it is taken for a time or the beginning of an id", async () => {
    expect(await resolve("2026-06-02", { names: [null, "2026-06-02", null, null] })).toBe(NOON);
    expect(await resolve("2026", { names: ["2026", null, null, null] })).toBe(MAY);
  });

  test("takes an id for that id, whatever snapshots are called", async () => {
    expect(await resolve(NOON, { names: [NOON, null, null, null] })).toBe(NOON);
    expect(await resolve("latest", { names: ["latest", null, null, null] })).toBe(NIGHT);
  });

  test("does not take a name that is not UTF-8 for any text", async () => {
    for (const point of ["\u00ff", "\ufffd", "/w=="]) {
      expect((await errorOf(resolve(point))).message).toContain(
        "no restore point has that id, snapshot or time",
      );
    }
  });

  test("takes what follows a prefix for nothing else", async () => {
    const names = ["latest", "yesterday", "~1", { base64: "Yf8K" }];
    expect(await resolve("snap:latest", { names })).toBe(MAY);
    expect(await resolve("yesterday", { names })).toBe(NOON);
    expect(await resolve("time:yesterday", { names })).toBe(NIGHT);
    expect(await resolve("snap:~1", { names })).toBe(NOON_TOO);
    expect(await resolve("snap:a\\xff\\x0a", { names })).toBe(NIGHT);
  });

  test.each([
    ["2026-06-01 12:00", NOON_TOO],
    ["2026-06-01T12:00:00.000", NOON_TOO],
    ["2026-06-01 11:59", MAY],
    ["2026-06-01", NOON_TOO],
    ["2026-05-31", MAY],
    ["2026-06-02 23:30:15.499", NOON_TOO],
    ["2026-06-02 23:30:15.5", NIGHT],
    ["2099-01-01", NIGHT],
    ["2026-06-02 23:30", NIGHT],
    ["2026-06-02 23:30:15", NIGHT],
    ["yesterday", NIGHT],
    ["yesterday 12:00", NOON_TOO],
    ["24h ago", NOON_TOO],
    ["time:2 days ago", MAY],
  ])("takes the local time %s for the last backup at or before it", async (point, id) => {
    expect(await resolve(point)).toBe(id);
  });

  test.each(["Z", "+00:00", "+0000"])("takes a time with the zone %s", async (zone) => {
    const noon = backupId(Date.UTC(2026, 5, 1, 12), new Uint8Array(4));
    const ids = [backupId(0, new Uint8Array(4)), noon];
    expect(await resolve(`2026-06-01T12:00:00${zone}`, { ids, names: [null, null] })).toBe(noon);
    expect(await resolve(`2026-06-01T11:59:59.999${zone}`, { ids, names: [null, null] })).toBe(ids[0]!);
  });

  test.each([
    ["", "usage", "the part after @ is empty"],
    ["~4", "not_found", "there are only 4 restore points"],
    ["~99999999999999999999", "not_found", "there are only 4 restore points"],
    ["2026", "not_found", "restore points match"],
    ["1999-01-01", "not_found", "no restore point is that old"],
    ["2026-13-45", "not_found", "there is no such date"],
    ["18-05", "not_found", 'a time is written "2026-11-28", "2026-11-28 16:30", "yesterday" or "2h ago"'],
    ["0000", "not_found", "3 restore points match"],
    ["id:yesterday", "not_found", "no restore point has that id"],
    ["snap:yesterday", "not_found", "no restore point has that snapshot"],
    ["time:weekly", "not_found", "a time is written"],
    ["~", "not_found", "no restore point has that"],
    ["a\nb", "not_found", "no restore point has that"],
  ])("says why %p means no backup", async (point, code, state) => {
    const error = await errorOf(resolve(point));
    expect([error.code as string, error.message]).toEqual([code, expect.stringContaining(state)]);
    expect(error.message).not.toMatch(/\n/);
  });
});
