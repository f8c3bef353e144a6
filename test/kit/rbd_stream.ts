/** Writes rbd streams for tests, and decodes them in memory. Any bytes can be put in, valid or not. */
import { decodeRbdStream } from "../../src/rbd/export.ts";
import type { RbdStep } from "../../src/rbd/steps.ts";
import type { Extent, VolumeDiff } from "../../src/sources/source.ts";

/** One record of a difference. */
export type TestRecord =
  | { tag: "f" | "t"; name: string | Uint8Array }
  | { tag: "s"; sizeBytes: number | bigint }
  | { tag: "w"; offset: number | bigint; data: Uint8Array }
  | { tag: "z"; offset: number | bigint; length: number | bigint }
  /** v2 only. Ceph up to 16 says 8 where it writes one byte. */
  | { tag: "p"; frameBytes: 1 | 8 }
  | { tag: "e" };

export interface TestProperty {
  tag: string;
  value: Uint8Array;
}

export function le32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

export function le64(value: number | bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([BigInt(value)]).buffer);
}

/** Joins strings (as UTF-8) and arrays. */
export function bytes(...parts: (string | Uint8Array)[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part as Uint8Array))));
}

/** A v1 stream: what `rbd export-diff` writes. */
export function encodeDiff(records: readonly TestRecord[]): Uint8Array {
  return bytes("rbd diff v1\n", ...records.map((record) => encodeRecord(record, false)));
}

/** A v2 container: what `rbd export --export-format 2` writes. */
export function encodeExport(diffs: readonly TestRecord[][], properties: TestProperty[] = []): Uint8Array {
  return bytes(
    "rbd image v2\n",
    ...properties.map(({ tag, value }) => bytes(tag, le64(value.length), value)),
    "Erbd image diffs v2\n",
    le64(diffs.length),
    ...diffs.map((records) => bytes("rbd diff v2\n", ...records.map((record) => encodeRecord(record, true)))),
  );
}

function encodeRecord(record: TestRecord, framed: boolean): Uint8Array {
  const body = encodeBody(record);
  const frameBytes = record.tag === "p" ? record.frameBytes : body.length;
  return bytes(record.tag, framed && record.tag !== "e" ? le64(frameBytes) : "", body);
}

function encodeBody(record: TestRecord): Uint8Array {
  switch (record.tag) {
    case "f":
    case "t": {
      const name = bytes(record.name);
      return bytes(le32(name.length), name);
    }
    case "s":
      return le64(record.sizeBytes);
    case "w":
      return bytes(le64(record.offset), le64(record.data.length), record.data);
    case "z":
      return bytes(le64(record.offset), le64(record.length));
    case "p":
      return bytes("\u0001");
    case "e":
      return bytes();
  }
}

/** What the decoder hands out, the data of extents filled in. */
export type DecodedStep =
  | Exclude<RbdStep, { kind: "need" } | { kind: "data" }>
  | { kind: "data"; offset: number; data: Uint8Array };

/** Decodes a whole stream. The error's place for cut off data is the source's to tell, so this stops there: "cut". */
export function decodeAll(stream: Uint8Array): (DecodedStep | "cut")[] {
  const decoded: (DecodedStep | "cut")[] = [];
  const decoding = decodeRbdStream("test");
  let at = 0;
  let given = new Uint8Array();
  for (let step = decoding.next(given); step.done !== true; step = decoding.next(given)) {
    if (step.value.kind === "need") {
      // A copy that is overwritten below: a decoder may not hold on to what it was given.
      given.fill(0xee);
      given = stream.slice(at, at + step.value.sizeBytes);
      at += given.length;
    } else if (step.value.kind === "data") {
      const { offset, length } = step.value;
      if (length > stream.length - at) return [...decoded, "cut"];
      decoded.push({ kind: "data", offset, data: stream.slice(at, at += length) });
    } else decoded.push(step.value);
  }
  return decoded;
}

/** A difference with its extents read, `data` in pieces of `pieceBytes`. */
export interface ReadDiff {
  fromSnapshot: Uint8Array | undefined;
  toSnapshot: Uint8Array | undefined;
  sizeBytes: number | undefined;
  extents: { offset: number; length: number; data: Uint8Array | undefined }[];
}

export async function readDiff(diff: VolumeDiff, pieceBytes = Infinity): Promise<ReadDiff> {
  const extents: ReadDiff["extents"] = [];
  for await (const extent of diff.extents()) {
    const { offset, length } = extent;
    extents.push({ offset, length, data: await readExtent(extent, pieceBytes) });
  }
  const { fromSnapshot, toSnapshot, sizeBytes } = diff;
  return { fromSnapshot, toSnapshot, sizeBytes, extents };
}

async function readExtent(extent: Extent, pieceBytes: number): Promise<Uint8Array | undefined> {
  if (extent.kind === "zero") return undefined;
  const data = new Uint8Array(extent.length);
  for (let at = 0; at < data.length; at += pieceBytes) await extent.read(data.subarray(at, at + pieceBytes));
  return data;
}

/** The volume that `diff` makes out of `base`: a plain byte array, nothing clever. */
export function applyDiff(base: Uint8Array, diff: ReadDiff): Uint8Array {
  const volume = new Uint8Array(diff.sizeBytes!);
  if (diff.fromSnapshot !== undefined) volume.set(base.subarray(0, volume.length));
  for (const { offset, length, data } of diff.extents) {
    if (data === undefined) volume.fill(0, offset, offset + length);
    else volume.set(data, offset);
  }
  return volume;
}

/** A whole volume as one extent. */
export function fullStream(bytes: Uint8Array, snapshot = "s1"): Uint8Array {
  return encodeDiff([...beginning(bytes.length, snapshot), { tag: "w", offset: 0, data: bytes }, {
    tag: "e",
  }]);
}

/** The records before the first extent of a full stream. */
export function beginning(sizeBytes: number, snapshot = "s1"): TestRecord[] {
  return [{ tag: "t", name: snapshot }, { tag: "s", sizeBytes }];
}
