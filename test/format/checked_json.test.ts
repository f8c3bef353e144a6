/** The text objects: any change of a byte is noticed, whoever made it. */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { DamageError, VarveError } from "../../src/errors.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { decodeCheckedJson, encodeCheckedJson } from "../../src/format/checked_json.ts";
import { flippedBits } from "../kit/damage.ts";

const FIELDS = { repository: "00ff", chunk_bytes: 65536, name: "zwölf" };
const BYTES = encodeCheckedJson(FIELDS);

function failure(bytes: Uint8Array): VarveError {
  try {
    decodeCheckedJson(bytes, "varve.json");
  } catch (error) {
    if (error instanceof VarveError) return error;
    throw error;
  }
  throw new Error("it was read");
}

/** A line with a check sum that fits. */
function signed(line: string): Uint8Array {
  return utf8(`${line}\n${createHash("sha256").update(line).digest("hex")}\n`);
}

describe("encodeCheckedJson()", () => {
  test("writes one line of JSON, version first, and its SHA-256", () => {
    const line = '{"varve":3,"repository":"00ff","chunk_bytes":65536,"name":"zwölf"}';
    expect(fromUtf8(BYTES)).toBe(fromUtf8(signed(line))!);
  });
});

describe("decodeCheckedJson()", () => {
  test("gives the fields and the version back", () => {
    expect(decodeCheckedJson(BYTES, "varve.json")).toEqual({ varve: 3, ...FIELDS });
  });

  test("notices the flip of any bit", () => {
    for (const bytes of flippedBits(BYTES)) {
      expect(["damage", "format_version"]).toContain(failure(bytes).code);
    }
  });

  test("notices when it is cut anywhere before the last line's end", () => {
    for (let end = 0; end < BYTES.length - 1; end++) {
      expect(failure(BYTES.subarray(0, end))).toBeInstanceOf(DamageError);
    }
  });

  test("notices bytes behind it", () => {
    expect(failure(new Uint8Array([...BYTES, 0x20])).code).toBe("damage");
  });

  test("says format_version for a later version, before it looks at anything else", () => {
    for (const text of ['{"varve":4}\n', '{"varve":4,"new":"things"}\nanother sum\nmore', '{"varve":10,']) {
      const error = failure(utf8(text));
      expect([error.code, error.message]).toEqual([
        "format_version",
        expect.stringMatching(
          /^Cannot read "varve.json": its format version is (4|10), but this varve supports 3/,
        ),
      ]);
    }
  });

  test("says format_version for the version before the first release, and what to do", () => {
    const error = failure(utf8('{"varve":1,"repository":"00ff"}\nsum\n'));
    expect([error.code, error.message]).toEqual([
      "format_version",
      expect.stringMatching(
        /its format version is 1, but this varve supports 3; it was written before the first release/,
      ),
    ]);
  });

  test.each([
    ["nothing", new Uint8Array()],
    ["a text", utf8("hello\n")],
    ["other JSON", signed('{"version":1}')],
    ["bytes that are not UTF-8", new Uint8Array([0xff, 0xfe, 0x00])],
  ])("says that %s is not a file of varve", (_, bytes) => {
    expect(failure(bytes).message).toBe('Cannot read "varve.json": it was not written by varve');
  });

  test("says damage when what was signed is no JSON", () => {
    expect(failure(signed('{"varve":3,'))).toBeInstanceOf(DamageError);
  });
});
