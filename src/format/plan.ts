/**
 * A gc plan. Its shards list the condemned objects, as sorted records of 48 bytes (id, then the lease id of the key's
 * suffix, zeros where it has none); its head says what it waits for and which restore points it saw. docs/format.md,
 * "Plans".
 */
import { fromUtf8, utf8 } from "./bytes.ts";
import { type ObjectRef } from "./layout.ts";
import { ID_BYTES, LEASE_ID_BYTES } from "./limits.ts";

const RECORD_BYTES = ID_BYTES + LEASE_ID_BYTES;

export function encodePlanShard(refs: readonly ObjectRef[]): Uint8Array {
  const records = refs.map(record).sort(Buffer.compare);
  return new Uint8Array(Buffer.concat(records));
}

/** The objects that a shard names, in its order. */
export function* decodePlanShard(shard: Uint8Array): Generator<ObjectRef> {
  for (let at = 0; at + RECORD_BYTES <= shard.length; at += RECORD_BYTES) {
    const lease = shard.slice(at + ID_BYTES, at + RECORD_BYTES);
    const hasLease = lease.some((byte) => byte !== 0);
    yield { id: shard.slice(at, at + ID_BYTES), lease: hasLease ? lease : undefined };
  }
}

/** Whether the shard's plaintext names the object. Binary search; the bytes are used as they are. */
export function shardHas(shard: Uint8Array, ref: ObjectRef): boolean {
  const wanted = record(ref);
  let low = 0;
  let high = Math.floor(shard.length / RECORD_BYTES);
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = Buffer.compare(shard.subarray(middle * RECORD_BYTES, (middle + 1) * RECORD_BYTES), wanted);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}

function record(ref: ObjectRef): Uint8Array {
  const bytes = new Uint8Array(RECORD_BYTES);
  bytes.set(ref.id);
  if (ref.lease !== undefined) bytes.set(ref.lease, ID_BYTES);
  return bytes;
}

/** The front of a plan's head. */
export interface PlanHead {
  /** The leases, in hex, that must have ended before the plan may be swept. */
  waits: string[];
  /** When its collector began, by the store's clock. */
  made_ms: number;
}

export function encodePlanHead(head: PlanHead): Uint8Array {
  return utf8(JSON.stringify(head));
}

/** `undefined` where it is none. */
export function decodePlanHead(front: Uint8Array): PlanHead | undefined {
  try {
    const head = JSON.parse(fromUtf8(front) ?? "") as Partial<PlanHead> | null;
    const isHead = Array.isArray(head?.waits) && head.waits.every((id) => typeof id === "string") &&
      typeof head.made_ms === "number";
    return isHead ? head as PlanHead : undefined;
  } catch {
    return undefined;
  }
}

/** A list of names, one a line: the points that a plan saw, or a forget took. */
export function encodeNames(names: Iterable<string>): Uint8Array {
  return utf8([...names].sort().join("\n"));
}

export function decodeNames(bytes: Uint8Array): string[] {
  return (fromUtf8(bytes) ?? "").split("\n").filter((name) => name !== "");
}
