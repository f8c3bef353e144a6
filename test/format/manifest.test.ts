/** The info of a manifest: there and back, and what is not the info that its name says. */
import { describe, expect, test } from "bun:test";
import { DamageError } from "../../src/errors.ts";
import { utf8 } from "../../src/format/bytes.ts";
import { decodeInfo, encodeInfo, type ManifestInfo } from "../../src/format/manifest.ts";

const INFO: ManifestInfo = {
  backup: "20260101T000000000Z-00000000",
  project: "acme",
  volume: "rbd/vm-1",
  time: "2026-01-01T00:00:00.000Z",
  size_bytes: 2 ** 52,
  chunk_bytes: 4 << 20,
  page_chunks: 1024,
  from_snapshot: null,
  to_snapshot: { base64: "/wA=" },
  base: null,
  tags: ["a"],
  host: "h",
  stream_bytes: 1,
  chunks: { total: 1, changed: 1, zero: 0, new: 1, patched: 0, reused: 0 },
  uploaded_bytes: 1,
  duration_s: 0.5,
};
const AT = { key: "k", volume: INFO.volume, backup: INFO.backup };

describe("decodeInfo()", () => {
  test("gives back what encodeInfo() was given", () =>
    expect(decodeInfo(encodeInfo(INFO), AT)).toEqual(INFO));

  test("says damage when it is the info of another volume or backup", () => {
    for (const at of [{ ...AT, volume: "rbd/vm-2" }, { ...AT, backup: "20260101T000000000Z-00000001" }]) {
      expect(() => decodeInfo(encodeInfo(INFO), at)).toThrow(DamageError);
    }
  });

  test.each(["", "{", "null", "1", '"text"', "[]", "{}", "\ud800"])("says damage when it is %p", (text) => {
    expect(() => decodeInfo(utf8(text), AT)).toThrow(DamageError);
  });

  test("gives the backups that were passed over, and of none no field", () => {
    const info = { ...INFO, passed_over: ["20300101T000000000Z-00000000"] };
    expect(decodeInfo(encodeInfo(info), AT)).toEqual(info);
    expect("passed_over" in decodeInfo(encodeInfo(INFO), AT)).toBe(false);
  });

  test("gives the ids of what was backed up, and of what is not known no field", () => {
    const info = { ...INFO, source_id: "f/1/ü", source_snapshot_id: "x".repeat(200) };
    expect(decodeInfo(encodeInfo({ ...info, from_snapshot_id: undefined }), AT)).toStrictEqual(info);
  });

  test.each<[keyof ManifestInfo, unknown]>([
    ["size_bytes", "x"],
    ["size_bytes", -1],
    ["size_bytes", 2 ** 52 + 1],
    ["chunk_bytes", 0],
    ["chunk_bytes", 1],
    ["chunk_bytes", 65_537],
    ["page_chunks", 0],
    ["tags", 5],
    ["tags", [5]],
    ["to_snapshot", 5],
    ["time", null],
    ["chunks", null],
    ["passed_over", ["latest"]],
    ["passed_over", {}],
    ["source_id", null],
    ["source_id", 5],
    ["source_id", ""],
    ["source_id", "two words"],
    ["source_id", "\u0000"],
    ["source_snapshot_id", "x".repeat(201)],
    ["from_snapshot_id", { base64: "AA==" }],
  ])("says damage when %s is %p", (field, value) => {
    expect(() => decodeInfo(encodeInfo({ ...INFO, [field]: value }), AT)).toThrow(DamageError);
  });

  test("says damage when it is not UTF-8", () => {
    expect(() => decodeInfo(new Uint8Array([0xff]), AT)).toThrow(DamageError);
  });
});
