/** Random valid differences, and what the decoder must make of them. */
import fc from "fast-check";
import type { TestRecord } from "./rbd_stream.ts";

/** Any valid list of records. */
export const validRecords: fc.Arbitrary<TestRecord[]> = fc.nat(5000).chain((sizeBytes) => {
  const offset = fc.nat(sizeBytes);
  const name = fc.option(fc.uint8Array({ minLength: 1, maxLength: 40 }), { nil: undefined });
  const zero = fc.tuple(offset, fc.nat(sizeBytes)).map(([at, length]): TestRecord => {
    return { tag: "z", offset: at, length: Math.min(length, sizeBytes - at) };
  });
  const data = fc.tuple(offset, fc.uint8Array({ maxLength: 300 })).map(([at, data]): TestRecord => {
    return { tag: "w", offset: at, data: data.slice(0, sizeBytes - at) };
  });
  return fc.record({ from: name, to: name, extents: fc.array(fc.oneof(zero, data), { maxLength: 12 }) })
    .map(({ from, to, extents }): TestRecord[] => [
      ...(from === undefined ? [] : [{ tag: "f", name: from } as const]),
      ...(to === undefined ? [] : [{ tag: "t", name: to } as const]),
      { tag: "s", sizeBytes },
      ...extents,
      { tag: "e" },
    ]);
});

/** The records as the decoder must hand them out. */
export function expectedSteps(records: readonly TestRecord[]): unknown[] {
  const name = (tag: "f" | "t") => records.find((record) => record.tag === tag);
  const nameOf = (tag: "f" | "t") => (name(tag) as { name: Uint8Array } | undefined)?.name;
  const size = records.find((record) => record.tag === "s") as { sizeBytes: number };
  const extents = records.flatMap((record): unknown[] => {
    if (record.tag === "z") return [{ kind: "zero", offset: record.offset, length: record.length }];
    return record.tag === "w" ? [{ kind: "data", offset: record.offset, data: record.data }] : [];
  });
  const diff = {
    kind: "diff",
    fromSnapshot: nameOf("f"),
    toSnapshot: nameOf("t"),
    sizeBytes: size.sizeBytes,
  };
  return [diff, ...extents, { kind: "end" }];
}
