/** Snapshot names are bytes: through JSON and back, and onto a terminal. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { utf8 } from "../../src/util/bytes.ts";
import { snapshotFromJson, snapshotText, snapshotToJson } from "../../src/format/snapshot_name.ts";

const names = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.string({ unit: "binary", maxLength: 8 }).map(utf8),
);

describe("snapshotToJson()", () => {
  test("is a string for UTF-8, base64 for other bytes, null for no name", () => {
    expect(snapshotToJson(utf8("zwölf"))).toBe("zwölf");
    expect(snapshotToJson(new Uint8Array([0xff, 0x00]))).toEqual({ base64: "/wA=" });
    expect(snapshotToJson(undefined)).toBeNull();
  });

  test("keeps a byte order mark, which is part of the name", () => {
    const name = new Uint8Array([0xef, 0xbb, 0xbf, 0x61]);
    expect(snapshotFromJson(snapshotToJson(name))).toEqual(name);
  });

  test("leads back to the same bytes, whatever they are, through JSON text", () => {
    fc.assert(fc.property(fc.option(names, { nil: undefined }), (name) => {
      expect(snapshotFromJson(JSON.parse(JSON.stringify(snapshotToJson(name))))).toEqual(name);
    }));
  });
});

describe("snapshotText()", () => {
  test("shows what can be shown, and escapes the rest", () => {
    expect(snapshotText(utf8("zwölf"))).toBe("zwölf");
    expect(snapshotText(utf8("a\nb\u001b[31m\u009b"))).toBe("a\\x0ab\\x1b[31m\\x9b");
    expect(snapshotText(new Uint8Array([0x61, 0xff, 0x0a]))).toBe("a\\xff\\x0a");
  });

  test("never has a control character", () => {
    fc.assert(fc.property(names, (name) => expect(snapshotText(name)).not.toMatch(/\p{Cc}/u)));
  });
});
