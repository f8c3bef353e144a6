/** What the chunk workers do, as plain functions over shared buffers: hash a chunk, seal it, open it. */
import { chunkId, writeLeaves } from "../codec/ids.ts";
import type { ProjectKey } from "../codec/keys.ts";
import { openContentInto, sealInto } from "../codec/seal.ts";
import { type ErrorCode, VarveError } from "../errors.ts";
import { equalBytes, toHex } from "../format/bytes.ts";
import { leavesBytes } from "../format/limits.ts";
import { OBJECT_TYPE } from "../format/object.ts";

type Shared = Uint8Array<SharedArrayBuffer>;

/** Hashes the first `length` bytes of `chunk`, and writes the leaves to `leaves`. */
export interface HashTask {
  op: "hash";
  chunk: Shared;
  leaves: Shared;
  length: number;
  idKey: Uint8Array;
}
/** The chunk's id; `undefined` where it is all zeros. */
export type HashResult = Uint8Array | undefined;

/** Compresses and seals a hashed chunk into `sealed`. */
export interface SealTask {
  op: "seal";
  chunk: Shared;
  leaves: Shared;
  length: number;
  sealed: Shared;
  name: string;
  level: number;
  keyId: Uint8Array;
  dataKey: Uint8Array;
}
/** Bytes of the object. */
export type SealResult = number;

/** Opens the object in the first `sealedLength` bytes of `sealed` into `chunk`, and checks that it is the chunk `id`. */
export interface OpenTask {
  op: "open";
  sealed: Shared;
  sealedLength: number;
  chunk: Shared;
  id: Uint8Array;
  name: string;
  key: string;
  keys: ProjectKey;
}
/** The chunk's length, or why the object is not the chunk. Errors do not cross threads whole, code and text do. */
export type OpenResult = { length: number } | { code: ErrorCode; message: string };

export type Task = HashTask | SealTask | OpenTask;
export type TaskResult = HashResult | SealResult | OpenResult;

let scratch = new Uint8Array(0);

/** Room of a worker's own for opened bytes that are still compressed, kept between tasks. */
function scratchOf(length: number): Uint8Array {
  if (scratch.length < length) scratch = new Uint8Array(length);
  return scratch;
}

export function runTask(task: Task): TaskResult {
  switch (task.op) {
    case "hash":
      return hash(task);
    case "seal":
      return seal(task);
    case "open":
      return open(task);
  }
}

function hash(task: HashTask): HashResult {
  const zero = writeLeaves(task.chunk.subarray(0, task.length), task.leaves);
  return zero ? undefined : chunkId(task.idKey, task.length, task.leaves);
}

function seal(task: SealTask): SealResult {
  return sealInto(task.sealed, {
    type: OBJECT_TYPE.chunk,
    name: task.name,
    front: task.leaves.subarray(0, leavesBytes(task.length)),
    content: task.chunk.subarray(0, task.length),
  }, {
    key: { id: task.keyId, dataKey: task.dataKey },
    level: task.level,
  });
}

function open(task: OpenTask): OpenResult {
  const object = { type: OBJECT_TYPE.chunk, name: task.name, key: task.key };
  try {
    const scratch = scratchOf(task.sealed.length);
    const sealed = task.sealed.subarray(0, task.sealedLength);
    const length = openContentInto(task.chunk, sealed, { object, key: task.keys, scratch });
    const leaves = new Uint8Array(leavesBytes(length));
    writeLeaves(task.chunk.subarray(0, length), leaves);
    if (equalBytes(chunkId(task.keys.idKey, length, leaves), task.id)) return { length };
    return {
      code: "damage",
      message: `Cannot read "${task.key}": its content is not the chunk ${toHex(task.id)}`,
    };
  } catch (error) {
    if (error instanceof VarveError) return { code: error.code, message: error.message };
    throw error;
  }
}
