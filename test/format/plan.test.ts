/** Plan shards: the binary search against a plain list. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { equalBytes } from "../../src/util/bytes.ts";
import type { ObjectRef } from "../../src/format/layout.ts";
import { encodePlanShard, shardHas } from "../../src/format/plan.ts";

// Ids and leases of few values, so that many records differ in one of both alone.
const id = fc.nat(5).map((byte) => new Uint8Array(32).fill(byte));
const lease = fc.option(fc.integer({ min: 1, max: 3 }).map((byte) => new Uint8Array(16).fill(byte)), {
  nil: undefined,
});
const ref: fc.Arbitrary<ObjectRef> = fc.record({ id, lease });

function same(a: ObjectRef, b: ObjectRef): boolean {
  return equalBytes(a.id, b.id) && equalBytes(a.lease ?? new Uint8Array(), b.lease ?? new Uint8Array());
}

describe("shardHas()", () => {
  test("finds what encodePlanShard() was given, and nothing else", () => {
    fc.assert(fc.property(fc.array(ref, { maxLength: 12 }), ref, (refs, wanted) => {
      const shard = encodePlanShard(refs);
      expect(shardHas(shard, wanted)).toBe(refs.some((ref) => same(ref, wanted)));
      for (const ref of refs) expect(shardHas(shard, ref)).toBe(true);
    }));
  });

  test("finds nothing in an empty shard", () => {
    expect(shardHas(new Uint8Array(), { id: new Uint8Array(32), lease: undefined })).toBe(false);
  });
});

describe("encodePlanShard()", () => {
  test("writes sorted records of 48 bytes, the plain key before its suffixed ones", () => {
    const id = new Uint8Array(32).fill(7);
    const shard = encodePlanShard([{ id, lease: new Uint8Array(16).fill(1) }, { id, lease: undefined }]);
    expect(Buffer.from(shard).toString("hex")).toBe(
      "07".repeat(32) + "00".repeat(16) + "07".repeat(32) + "01".repeat(16),
    );
  });
});
