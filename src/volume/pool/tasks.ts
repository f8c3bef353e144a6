/**
 * What the chunk workers do, as plain functions over shared buffers: hash a chunk, seal it whole or as a block patch, open
 * it, apply a patch.
 */
import { chunkId, LeafHasher, patchId } from "../../codec/ids.ts";
import type { ProjectKeys } from "../../codec/keys.ts";
import { type ObjectName, openContentInto, openFront, sealInto } from "../../codec/seal.ts";
import { cannotRead, type ErrorCode, VarveError } from "../../errors.ts";
import { equalBytes, toHex } from "../../util/bytes.ts";
import type { Range } from "../../util/ranges.ts";
import type { ObjectRef } from "../../format/layout.ts";
import { LEAF_BYTES, leavesBytes } from "../../format/limits.ts";
import { OBJECT_TYPE } from "../../format/object.ts";
import { BlockSet, decodePatchFront, encodePatchFront } from "../../format/patch.ts";

type Shared = Uint8Array<SharedArrayBuffer>;

/** A chunk in shared memory: the first `length` bytes of `chunk`, and its leaves. */
interface ChunkParts {
  chunk: Shared;
  leaves: Shared;
  length: number;
}

/** Hashes the chunk, and writes the leaves; those of the ranges `known` are there. */
interface HashTask extends ChunkParts {
  op: "hash";
  known: readonly Range[];
  keys: ProjectKeys;
}
/** The chunk's id; `undefined` where it is all zeros. */
export type HashResult = Uint8Array | undefined;

/** Compresses and seals a hashed chunk into `sealed`: whole, or just some blocks of it over another chunk. */
interface SealTask extends ChunkParts {
  op: "seal";
  patch: { base: ObjectRef; bits: Uint8Array } | undefined;
  sealed: Shared;
  name: string;
  keyId: Uint8Array;
  dataKey: Uint8Array;
}
/** Bytes of the object. */
export type SealResult = number;

interface ObjectParts {
  /** The first `sealedLength` bytes are the object. */
  sealed: Shared;
  sealedLength: number;
  name: string;
  key: string;
  keys: ProjectKeys;
}

/** Opens the object into `chunk`, writes its leaves, and checks that it is the chunk `id`. */
interface OpenTask extends ObjectParts, Omit<ChunkParts, "length"> {
  op: "open";
  id: Uint8Array;
}
/** The chunk's length, or why the object is not the chunk. Errors do not cross threads whole, code and text do. */
export type OpenResult = { length: number } | Refusal;

interface Refusal {
  code: ErrorCode;
  message: string;
}

/**
 * Applies the patch to `chunk`, whose leaves are those of the patch's base: writes the blocks, or only those that begin
 * in the ranges `wanted`, and the leaves of all of them, and checks that it is the patch `id`.
 */
interface ApplyTask extends ObjectParts, Omit<ChunkParts, "length"> {
  op: "apply";
  id: Uint8Array;
  wanted: readonly Range[] | undefined;
}
/** The id of the chunk that the patch makes of its base, or why the object is not the patch. */
export type ApplyResult = { chunkId: Uint8Array } | Refusal;

export type Task = HashTask | SealTask | OpenTask | ApplyTask;
export type TaskResult = HashResult | SealResult | OpenResult | ApplyResult;

let scratch = new Uint8Array(0);
let blocksScratch = new Uint8Array(0);

/** Room of a worker's own for opened bytes that are still compressed, kept between tasks. */
function scratchOf(length: number): Uint8Array {
  if (scratch.length < length) scratch = new Uint8Array(length);
  return scratch;
}

/** Room of a worker's own for the blocks of a patch. */
function blocksScratchOf(length: number): Uint8Array {
  if (blocksScratch.length < length) blocksScratch = new Uint8Array(length);
  return blocksScratch.subarray(0, length);
}

export function runTask(task: Task): TaskResult {
  switch (task.op) {
    case "hash":
      return hash(task);
    case "seal":
      return seal(task);
    case "open":
      return refusing(() => open(task));
    case "apply":
      return refusing(() => apply(task));
  }
}

function refusing<T>(work: () => T): T | Refusal {
  try {
    return work();
  } catch (error) {
    if (error instanceof VarveError) return { code: error.code, message: error.message };
    throw error;
  }
}

function hash({ chunk, leaves, length, known, keys }: HashTask): HashResult {
  const hasher = new LeafHasher(keys);
  hasher.write(chunk.subarray(0, length), leaves, known);
  return hasher.areZero(leaves, length) ? undefined : chunkId(keys.idKey, length, leaves);
}

function seal(task: SealTask): SealResult {
  const { name, patch, length } = task;
  const object = patch === undefined
    ? {
      type: OBJECT_TYPE.chunk,
      front: task.leaves.subarray(0, leavesBytes(length)),
      content: task.chunk.subarray(0, length),
    }
    : { type: OBJECT_TYPE.patch, ...patchParts(task, patch) };
  return sealInto(task.sealed, { ...object, name }, { id: task.keyId, dataKey: task.dataKey });
}

function patchParts({ chunk, length }: SealTask, { base, bits }: { base: ObjectRef; bits: Uint8Array }) {
  const blocks = BlockSet.decode(length, bits);
  const content = blocksScratchOf(blocks.bytes);
  let at = 0;
  for (const { from, to } of blocks.ranges()) {
    content.set(chunk.subarray(from, to), at);
    at += to - from;
  }
  return { front: encodePatchFront({ base, length, blocks }), content };
}

function open(task: OpenTask): OpenResult {
  const object = { type: OBJECT_TYPE.chunk, name: task.name, key: task.key };
  const scratch = scratchOf(task.sealed.length);
  const sealed = task.sealed.subarray(0, task.sealedLength);
  const length = openContentInto(task.chunk, sealed, { object, key: task.keys, scratch });
  new LeafHasher(task.keys).write(task.chunk.subarray(0, length), task.leaves);
  if (equalBytes(chunkId(task.keys.idKey, length, task.leaves), task.id)) return { length };
  throw cannotRead(task.key, `its content is not the chunk ${toHex(task.id)}`);
}

function apply(task: ApplyTask): ApplyResult {
  const { base, length, blocks, content } = openPatch(task);
  const isWanted = rangeFilter(task.wanted);
  const hasher = new LeafHasher(task.keys);
  let at = 0;
  for (const { block, from, to } of blocks.ranges()) {
    const bytes = content.subarray(at, at + to - from);
    task.leaves.set(hasher.of(bytes), block * LEAF_BYTES);
    if (isWanted(from)) task.chunk.set(bytes, from);
    at += bytes.length;
  }
  const id = chunkId(task.keys.idKey, length, task.leaves);
  if (equalBytes(patchId(task.keys.patchKey, id, base), task.id)) return { chunkId: id };
  throw cannotRead(task.key, `it is not the patch ${toHex(task.id)} of its base`);
}

function openPatch({ sealed, sealedLength, chunk, name, key, keys }: ApplyTask) {
  const object: ObjectName = { type: OBJECT_TYPE.patch, name, key };
  const bytes = sealed.subarray(0, sealedLength);
  try {
    const front = decodePatchFront(openFront(bytes, object, keys));
    if (front.length > chunk.length) throw new RangeError("it belongs to a longer chunk");
    const content = blocksScratchOf(front.blocks.bytes);
    const length = openContentInto(content, bytes, { object, key: keys, scratch: scratchOf(sealed.length) });
    if (length !== content.length) throw new RangeError("its blocks do not match its bitmap");
    return { ...front, content };
  } catch (error) {
    if (error instanceof RangeError) throw cannotRead(key, error.message);
    throw error;
  }
}

/** Whether a byte is in one of the ranges; asked in ascending order. */
function rangeFilter(ranges: readonly Range[] | undefined): (at: number) => boolean {
  if (ranges === undefined) return () => true;
  let next = 0;
  return (at) => {
    while (next < ranges.length && ranges[next]!.to <= at) next++;
    return next < ranges.length && ranges[next]!.from <= at;
  };
}
