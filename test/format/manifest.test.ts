/** The info of a manifest: there and back, and what is not the info that its name says. */
import { describe, expect, test } from "bun:test";
import { ChunkSizeError, DamageError, VarveError } from "../../src/errors.ts";
import { utf8 } from "../../src/util/bytes.ts";
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
const AT = {
  key: "k",
  project: INFO.project,
  volume: INFO.volume,
  backup: INFO.backup,
  chunkBytes: INFO.chunk_bytes,
};

function errorFrom(work: () => unknown): VarveError {
  try {
    work();
  } catch (error) {
    if (error instanceof VarveError) return error;
    throw error;
  }
  throw new Error("it was taken");
}

function stateOf(bytes: Uint8Array, at = AT): string {
  const error = errorFrom(() => decodeInfo(bytes, at));
  expect(error).toBeInstanceOf(DamageError);
  expect(error.message).toStartWith('Cannot read "k": it');
  return error.message.slice('Cannot read "k": '.length);
}

function json(fields: Record<string, unknown>): Uint8Array {
  return utf8(JSON.stringify({ ...INFO, ...fields }));
}

describe("decodeInfo()", () => {
  test("gives back what encodeInfo() was given", () => {
    const info = { ...INFO, passed_over: ["20300101T000000000Z-00000000"], lease_ms: 1.5, base: INFO.backup };
    for (const written of [INFO, info]) expect(decodeInfo(encodeInfo(written, "k"), AT)).toEqual(written);
    expect("passed_over" in decodeInfo(encodeInfo(INFO, "k"), AT)).toBe(false);
  });

  test("says damage when it is the info of another project, volume or backup", () => {
    for (
      const other of [{ project: "beta" }, { volume: "rbd/vm-2" }, { backup: "20260101T000000000Z-00000001" }]
    ) {
      expect(stateOf(json({}), { ...AT, ...other })).toBe("its content does not match its name");
    }
  });

  test("says so when its chunks are not those of the repository", () => {
    const error = errorFrom(() => decodeInfo(json({}), { ...AT, chunkBytes: 1 << 20 }));
    expect(error).toBeInstanceOf(ChunkSizeError);
    expect(error.message).toBe(
      'Cannot read "k": its chunk size is 4194304 bytes, that of the repository 1048576; restore the original varve.json',
    );
  });

  test("says damage when its time is not that of its id", () => {
    expect(stateOf(json({ time: "2026-01-01T00:00:00.001Z" }))).toBe('its "time" does not match its name');
  });

  test("gives the ids of what was backed up, and of what is not known no field", () => {
    const info = { ...INFO, source_id: "f/1/ü", source_snapshot_id: "x".repeat(200) };
    expect(decodeInfo(json({ ...info, from_snapshot_id: undefined }), AT)).toStrictEqual(info);
  });

  test("says damage when the volume is larger than chunks of that size allow", () => {
    const at = { ...AT, chunkBytes: 65_536 };
    const most = 1_200_000 * 1024 * 65_536;
    expect(decodeInfo(json({ chunk_bytes: 65_536, size_bytes: most }), at).size_bytes).toBe(most);
    expect(stateOf(json({ chunk_bytes: 65_536, size_bytes: most + 1 }), at))
      .toBe('its "size_bytes" is too large for that chunk size');
  });

  test("leaves out fields that it does not know", () => {
    expect(decodeInfo(json({ later: [[[]]], chunks: { ...INFO.chunks, later: 1 } }), AT)).toEqual(INFO);
  });

  test.each<[string, string]>([
    ["", "it is not valid JSON"],
    ["{", "it is not valid JSON"],
    ["\ud800", "it is not valid JSON"],
    ["null", "it is not an object"],
    ["1", "it is not an object"],
    ['"text"', "it is not an object"],
    ["[]", "it is not an object"],
    ["{}", 'its "backup" is not a backup\'s id'],
  ])("says damage when it is %p", (text, state) => expect(stateOf(utf8(text))).toBe(state));

  test("says damage when it is not UTF-8, nested too deep, or too long", () => {
    expect(stateOf(new Uint8Array([0xff]))).toBe("it is not valid JSON");
    expect(stateOf(utf8("[".repeat(1 << 20)))).toBe("it is not valid JSON");
    expect(stateOf(utf8(" ".repeat((1 << 20) + 1)))).toBe("it is longer than 1048576 bytes");
  });

  test.each<[string, Record<string, unknown>]>([
    ["size_bytes", { size_bytes: "x" }],
    ["size_bytes", { size_bytes: -1 }],
    ["size_bytes", { size_bytes: 0.5 }],
    ["size_bytes", { size_bytes: 2 ** 52 + 1 }],
    ["size_bytes", { size_bytes: null }],
    ["chunk_bytes", { chunk_bytes: 0 }],
    ["chunk_bytes", { chunk_bytes: 1 }],
    ["chunk_bytes", { chunk_bytes: 65_537 }],
    ["chunk_bytes", { chunk_bytes: 64 << 20 }],
    ["page_chunks", { page_chunks: 0 }],
    ["page_chunks", { page_chunks: 1e9 }],
    ["tags", { tags: 5 }],
    ["tags.0", { tags: [5] }],
    ["tags.1", { tags: ["a", "b".repeat(401)] }],
    ["tags", { tags: Array(65).fill("a") }],
    ["from_snapshot", { from_snapshot: "x".repeat(4097) }],
    ["to_snapshot", { to_snapshot: 5 }],
    ["to_snapshot", { to_snapshot: [] }],
    ["to_snapshot.base64", { to_snapshot: {} }],
    ["to_snapshot.base64", { to_snapshot: { base64: "?" } }],
    ["to_snapshot.base64", { to_snapshot: { base64: Buffer.alloc(4097).toString("base64") } }],
    ["time", { time: null }],
    ["time", { time: "yesterday" }],
    ["time", { time: "2026-02-30T00:00:00.000Z" }],
    ["base", { base: "latest" }],
    ["base", { base: undefined }],
    ["chunks", { chunks: null }],
    ["chunks.zero", { chunks: { ...INFO.chunks, zero: -1 } }],
    ["chunks.new", { chunks: { ...INFO.chunks, new: 0.5 } }],
    ["passed_over.0", { passed_over: ["latest"] }],
    ["passed_over", { passed_over: {} }],
    ["passed_over", { passed_over: null }],
    ["host", { host: "h".repeat(256) }],
    ["source_id", { source_id: null }],
    ["source_id", { source_id: "" }],
    ["source_id", { source_id: "two words" }],
    ["source_id", { source_id: "\u0000" }],
    ["source_snapshot_id", { source_snapshot_id: "x".repeat(201) }],
    ["from_snapshot_id", { from_snapshot_id: { base64: "AA==" } }],
    ["stream_bytes", { stream_bytes: 2 ** 60 }],
    ["uploaded_bytes", { uploaded_bytes: "1" }],
    ["duration_s", { duration_s: -1 }],
    ["duration_s", { duration_s: null }],
    ["lease_ms", { lease_ms: 1e300 }],
  ])("says damage, and where, when %s is wrong", (at, fields) => {
    expect(stateOf(json(fields))).toStartWith(`its "${at}" is not `);
  });
});

describe("encodeInfo()", () => {
  test("refuses what nobody could read", () => {
    const error = errorFrom(() => encodeInfo({ ...INFO, tags: Array(65).fill("a") }, "k"));
    expect([error.code, error.message]).toEqual([
      "failed",
      'Cannot write "k": its "tags" is not a list of at most 64',
    ]);
  });
});
