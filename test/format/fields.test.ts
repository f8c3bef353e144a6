/** What fields of documents may hold: each value at the edge is taken, and the one behind it refused. */
import { expect, test } from "bun:test";
import { decodeDocument, type Reader } from "../../src/format/document.ts";
import { backupId } from "../../src/format/backup_id.ts";
import * as field from "../../src/format/fields.ts";
import {
  MAX_CHUNK_BYTES,
  MAX_SNAPSHOT_NAME_BYTES,
  MAX_TIME_MS,
  MIN_CHUNK_BYTES,
} from "../../src/format/limits.ts";
import { utf8 } from "../../src/util/bytes.ts";

/** Whether the reader believes the value, as JSON has it. */
function takes<T>(read: Reader<T>, value: unknown): boolean {
  try {
    decodeDocument(utf8(JSON.stringify(value)), { key: "k", read });
    return true;
  } catch (error) {
    expect(error).toMatchObject({ name: "DamageError", key: "k" });
    return false;
  }
}

const LONG = "x".repeat(MAX_SNAPSHOT_NAME_BYTES);
const CASES: [name: string, read: Reader<unknown>, good: unknown[], bad: unknown[]][] = [
  ["host", field.host, ["", "h", "ö".repeat(127)], ["ö".repeat(128), null, 1]],
  ["name", field.name, ["rbd/vm-1", "x".repeat(200)], ["x".repeat(201), null, {}]],
  ["count", field.count, [0, Number.MAX_SAFE_INTEGER], [-1, 0.5, 2 ** 53, "1", null]],
  ["timeMs", field.timeMs, [-MAX_TIME_MS, 0, 1.5, MAX_TIME_MS], [MAX_TIME_MS + 1000, "0", null]],
  ["isoTime", field.isoTime, ["2026-11-21T21:32:59.123Z", "0001-01-01T00:00:00.000Z"], [
    "2026-11-21T21:32:59Z",
    "2026-11-21T21:32:59.123+01:00",
    "2026-02-30T00:00:00.000Z",
    "2026-11-21T24:00:00.000Z",
    "tomorrow",
    0,
  ]],
  ["backupId", field.backupId, [backupId(Date.UTC(2026, 10, 21), new Uint8Array(4))], [
    "",
    "20261121T213259123Z",
    5,
  ]],
  ["sourceId", field.sourceId, ["1a2b", "ä-1"], ["", "two words", "a\u0000", "x".repeat(201), null]],
  ["hex(4)", field.hex(4), ["00ff10ab"], ["00ff10", "00FF10AB", "00ff10ag", 4]],
  ["chunkSize", field.chunkSize, [MIN_CHUNK_BYTES, MIN_CHUNK_BYTES + 4096, MAX_CHUNK_BYTES], [
    0,
    MIN_CHUNK_BYTES - 4096,
    MIN_CHUNK_BYTES + 1,
    MAX_CHUNK_BYTES + 4096,
    "65536",
  ]],
  ["snapshot", field.snapshot, [null, "", "s1", LONG, { base64: "/w==" }, { base64: "" }], [
    `${LONG}x`,
    5,
    [],
    {},
    { base64: "/w" },
    { base64: "!" },
    { base64: Buffer.from(`${LONG}x`).toString("base64") },
  ]],
];

test.each(CASES)("%s is believed for what it may be alone", (_, read, good, bad) => {
  for (const value of good) expect({ value, isTaken: takes(read, value) }).toEqual({ value, isTaken: true });
  for (const value of bad) expect({ value, isTaken: takes(read, value) }).toEqual({ value, isTaken: false });
});

test("snapshot leaves out what stands beside the name's bytes", () => {
  const bytes = utf8(JSON.stringify({ base64: "/w==", more: 1 }));
  expect(decodeDocument(bytes, { key: "k", read: field.snapshot })).toEqual({ base64: "/w==" });
});
