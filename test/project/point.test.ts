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
const NAMES: SnapshotJson[] = ["weekly", "daily", { base64: "/w==" }, "daily"];

function resolve(point: string, options: { ids?: string[]; names?: SnapshotJson[] } = {}): Promise<string> {
  const { ids = IDS, names = NAMES } = options;
  return resolvePoint(point, { thing: "acme/v", ids, snapshots: () => Promise.resolve(names) });
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
  ])("takes %s for the place or the beginning of an id", async (point, id) => {
    expect(await resolve(point)).toBe(id);
  });

  test.each(["latest", "~1", NOON])("does not look through all backups for %s", async (point) => {
    const snapshots = () => Promise.reject(new Error("read"));
    await resolvePoint(point, { thing: "acme/v", ids: IDS, snapshots });
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
      expect((await errorOf(resolve(point))).message).toContain("no backup has that id, snapshot or time");
    }
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
    ["", "usage", "what follows the @ is empty"],
    ["~4", "not_found", "there are 4 backups"],
    ["~99999999999999999999", "not_found", "there are 4 backups"],
    ["2026", "not_found", "backups begin so"],
    ["1999-01-01", "not_found", "no backup is that old"],
    ["2026-13-45", "not_found", "no backup has that id, snapshot or time"],
    ["~", "not_found", "no backup has that"],
    ["a\nb", "not_found", "no backup has that"],
  ])("says why %p means no backup", async (point, code, state) => {
    const error = await errorOf(resolve(point));
    expect([error.code as string, error.message]).toEqual([code, expect.stringContaining(state)]);
    expect(error.message).not.toMatch(/\n/);
  });
});
