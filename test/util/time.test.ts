/** The one rule for times and durations that are typed, and times that are shown: both in the zone of whoever looks. */
import { afterEach, describe, expect, test } from "bun:test";
import { formatTime, parseDuration, parseTime } from "../../src/util/time.ts";

const ZONE = process.env.TZ;
afterEach(() => {
  process.env.TZ = ZONE ?? "UTC";
});

const NOW = Date.parse("2026-11-28T16:30:15.250Z");

function read(text: string, zone: string): string | undefined {
  process.env.TZ = zone;
  const ms = parseTime(text, NOW);
  if (ms === undefined) return undefined;
  return Number.isNaN(ms) ? "no such date" : new Date(ms).toISOString();
}

describe("parseTime()", () => {
  test.each([
    ["2026-11-28", "2026-11-28T22:59:59.999Z"],
    ["2026-07-01", "2026-07-01T21:59:59.999Z"],
    ["2026-11-28 16:27", "2026-11-28T15:27:59.999Z"],
    ["2026-11-28T16:27:03", "2026-11-28T15:27:03.999Z"],
    ["2026-11-28 16:27:03.5", "2026-11-28T15:27:03.500Z"],
    ["now", "2026-11-28T16:30:15.250Z"],
    ["today", "2026-11-28T22:59:59.999Z"],
    ["yesterday", "2026-11-27T22:59:59.999Z"],
    ["yesterday 18:00", "2026-11-27T17:00:59.999Z"],
    ["16:27", "2026-11-28T15:27:59.999Z"],
  ])("reads %s as a local time, and as the end of what it names", (text, time) => {
    expect(read(text, "Europe/Berlin")).toBe(time);
  });

  test.each([
    ["2026-11-28 16:27Z", "2026-11-28T16:27:59.999Z"],
    ["2026-11-28T16:27:03.123+00:00", "2026-11-28T16:27:03.123Z"],
    ["2026-11-28 16:27+01", "2026-11-28T15:27:59.999Z"],
    ["2026-11-28 16:27-0330", "2026-11-28T19:57:59.999Z"],
    ["2h ago", "2026-11-28T14:30:15.250Z"],
    ["15min ago", "2026-11-28T16:15:15.250Z"],
    ["1 day ago", "2026-11-27T16:30:15.250Z"],
    ["3 weeks ago", "2026-11-07T16:30:15.250Z"],
  ])("reads %s the same in every zone", (text, time) => {
    for (const zone of ["UTC", "Europe/Berlin", "America/St_Johns"]) expect(read(text, zone)).toBe(time);
  });

  test("says of a date that does not exist that there is none", () => {
    for (const text of ["2026-13-45", "2026-02-30", "2026-02-30 12:00Z", "2026-11-28 25:00", "24:61"]) {
      expect([text, read(text, "UTC")]).toEqual([text, "no such date"]);
    }
  });

  test("takes nothing else for a time", () => {
    const texts = ["", "2026", "2026-11", "16", "16:3", "2h", "6m ago", "tomorrow", "yesterdays", "-1h ago"];
    for (const text of texts) expect([text, read(text, "UTC")]).toEqual([text, undefined]);
  });
});

test("formatTime() shows a time that parseTime() finds it by, in any zone and half of the year", () => {
  for (const zone of ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]) {
    process.env.TZ = zone;
    for (const ms of [NOW, Date.parse("2026-07-01T23:59:59.999Z"), Date.parse("2026-10-25T01:30:00.000Z")]) {
      for (const [to, unitMs] of [["minute", 60_000], ["second", 1000]] as const) {
        expect(parseTime(formatTime(ms, to), 0)).toBe(ms - ms % unitMs + unitMs - 1);
      }
    }
  }
});

test("formatTime() says which zone is meant", () => {
  const shown = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"].map((zone) => {
    process.env.TZ = zone;
    return formatTime(NOW);
  });
  expect(shown).toEqual([
    ...["2026-11-28 16:30Z", "2026-11-28 17:30+01", "2026-11-28 22:00+05:30", "2026-11-28 13:00-03:30"],
  ]);
});

describe("parseDuration()", () => {
  test("reads a number in one of the units that are wanted", () => {
    expect(["90s", "15m", "2h"].map((text) => parseDuration(text, "smh"))).toEqual([
      90_000,
      900_000,
      7_200_000,
    ]);
    expect(["12h", "30d", "8w", "1y", "0d"].map((text) => parseDuration(text, "hdwy"))).toEqual(
      [12, 720, 1344, 8760, 0].map((hours) => hours * 3600_000),
    );
  });

  test("returns undefined for other units, and for what is no duration", () => {
    for (const text of ["", "30", "d", "1.5d", "-1d", "3m", "1d12h", "1 d", "1234567d", "1ms"]) {
      expect([text, parseDuration(text, "hdwy")]).toEqual([text, undefined]);
    }
  });
});
