/**
 * A gc plan. Its shards list the condemned objects, as sorted records of 48 bytes (id, then the lease id of the key's
 * suffix, zeros where it has none); its head says what it waits for and which restore points it saw. docs/format.md,
 * "Plans".
 */
import { cannotRead } from "../errors.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";
import { decodeDocument, encodeDocument, list, record } from "./document.ts";
import { encodeRef, refAt } from "./entries.ts";
import * as field from "./fields.ts";
import { type ObjectRef, parseManifestName } from "./layout.ts";
import { ID_BYTES, LEASE_ID_BYTES } from "./limits.ts";

const RECORD_BYTES = ID_BYTES + LEASE_ID_BYTES;

export function encodePlanShard(refs: readonly ObjectRef[]): Uint8Array {
  const records = refs.map((ref) => encodeRef(ref)).sort(Buffer.compare);
  return new Uint8Array(Buffer.concat(records));
}

/** The objects that a shard names, in its order. */
export function* decodePlanShard(shard: Uint8Array): Generator<ObjectRef> {
  for (let at = 0; at + RECORD_BYTES <= shard.length; at += RECORD_BYTES) {
    yield refAt(shard, at);
  }
}

/** Whether the shard's plaintext names the object. Binary search; the bytes are used as they are. */
export function shardHas(shard: Uint8Array, ref: ObjectRef): boolean {
  const wanted = encodeRef(ref);
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

/** The front of a plan's head. */
export interface PlanHead {
  /** The leases, in hex, that must have ended before the plan may be swept. */
  waits: string[];
  /** When its collector began, by the store's clock. */
  made_ms: number;
}

/** As many leases as fit into a document. */
const MAX_WAITS = 25_000;

const readHead = record<PlanHead>({
  waits: list(field.hex(LEASE_ID_BYTES), { most: MAX_WAITS }),
  made_ms: field.timeMs,
});

/** Throws `failed` for what `decodePlanHead` would refuse. */
export function encodePlanHead(head: PlanHead, key: string): Uint8Array {
  return encodeDocument(head, { key, read: readHead });
}

/** Of the plan's head at `key`. Throws `DamageError` where it is none. */
export function decodePlanHead(front: Uint8Array, key: string): PlanHead {
  return decodeDocument(front, { key, read: readHead });
}

/** A list of manifests' names, one a line: the points that a plan saw, or a forget took. */
export function encodeNames(names: Iterable<string>): Uint8Array {
  return utf8([...names].sort().join("\n"));
}

/** Of the object at `key`. Throws `DamageError` where a line is no manifest's name. */
export function decodeNames(bytes: Uint8Array, key: string): string[] {
  if (bytes.length === 0) return [];
  const names = (fromUtf8(bytes) ?? "").split("\n");
  if (names.every((name) => parseManifestName(name) !== undefined)) return names;
  throw cannotRead(key, "one of its lines is not the name of a manifest");
}
