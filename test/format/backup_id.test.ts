/** Backup ids: they carry their time, sort by it, and nothing else passes for one. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { backupId, backupTimeMs, isBackupId } from "../../src/format/backup_id.ts";

const LAST_MS = Date.UTC(9999, 11, 31);
const time = fc.integer({ min: 0, max: LAST_MS });
const random = fc.uint8Array({ minLength: 4, maxLength: 4 });

describe("backupId()", () => {
  test("is the time in UTC and 32 random bits", () => {
    const id = backupId(Date.UTC(2026, 10, 21, 21, 32, 59, 123), new Uint8Array([0x1a, 0x2b, 0x3c, 0x4d]));
    expect(id).toBe("20261121T213259123Z-1a2b3c4d");
  });

  test("is an id that gives its time back", () => {
    fc.assert(fc.property(time, random, (ms, bytes) => {
      const id = backupId(ms, bytes);
      expect(isBackupId(id)).toBe(true);
      expect(backupTimeMs(id)).toBe(ms);
    }));
  });

  test.each([Date.UTC(10_000, 0, 1), -62_167_219_200_001, 8.64e15 + 1, NaN])(
    "throws for %p, which no id can hold",
    (ms) => {
      expect(() => backupId(ms, new Uint8Array(4))).toThrow(RangeError);
    },
  );

  test("sorts by time, whatever its random part is", () => {
    fc.assert(fc.property(time, random, random, (ms, a, b) => {
      expect(backupId(ms, a) < backupId(ms + 1, b)).toBe(true);
    }));
  });
});

describe("isBackupId()", () => {
  const id = "20261121T213259123Z-1a2b3c4d";

  test.each([
    "",
    "latest",
    ` ${id}`,
    `${id}\n`,
    `${id}0`,
    id.slice(1),
    id.slice(0, -1),
    id.toLowerCase(),
    id.replace("1a", "1A"),
    id.replace("Z", "+"),
    id.replace("1121", "1321"),
    id.replace("1121", "1131"),
    id.replace("T21", "T24"),
    `+010000${id.slice(6)}`,
  ])("refuses %p", (text) => {
    expect(isBackupId(text)).toBe(false);
    expect(backupTimeMs(text)).toBeUndefined();
  });
});
