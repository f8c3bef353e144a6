/** Sealing a hashed chunk, whole or as a block patch: compress, encrypt, upload. */
import { differentBlocks } from "../codec/ids.ts";
import type { ProjectKeys } from "../codec/keys.ts";
import { chunkName, type ObjectRef } from "../format/layout.ts";
import type { BlockSet } from "../format/patch.ts";
import type { Project } from "../project/project.ts";
import type { SharedBuffer } from "./pool/buffers.ts";
import type { ChunkBuffer } from "./pool/chunk_pool.ts";
import type { ChunkResources } from "./resources.ts";

/** Some blocks of a chunk, over a whole one. */
export interface Patch {
  base: ObjectRef;
  blocks: BlockSet;
}

export interface SealOptions {
  project: Project;
  resources: ChunkResources;
  keys: ProjectKeys;
  /** A buffer for the sealed object. */
  sealed: SharedBuffer;
  /** Without it the chunk is sealed whole. */
  patch?: Patch | undefined;
  signal: AbortSignal;
}

/**
 * Compresses, seals and uploads a hashed chunk as the object `ref`; the object as it was uploaded, in `sealed`. The
 * chunk's buffer is released once its content is not needed any more.
 */
export async function sealChunk(
  chunk: ChunkBuffer,
  ref: ObjectRef,
  options: SealOptions,
): Promise<Uint8Array> {
  const { project, keys, resources, sealed, patch, signal } = options;
  const length = await resources.pool.seal(chunk, { ref, patch, sealed, keys });
  chunk.buffer.release();
  const body = sealed.bytes.subarray(0, length);
  await project.put(chunkName(ref), body, { signal });
  return body;
}

/** What makes the chunk in `chunk`, leaves behind it, of the whole chunk at `base`; `undefined` where it is too much. */
export function patchOver(
  base: ObjectRef,
  { chunk, leaves, chunkBytes }: { chunk: ChunkBuffer; leaves: Uint8Array; chunkBytes: number },
): Patch | undefined {
  const blocks = differentBlocks(chunk.buffer.bytes.subarray(chunkBytes), leaves, chunk.length);
  return blocks.count > 0 && blocks.fitsPatch ? { base, blocks } : undefined;
}
