/** The sizes that the format fixes, and the limits that readers and writers hold to. docs/format.md says why. */

export const FORMAT_VERSION = 3;

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** A leaf hash covers one block. */
export const BLOCK_BYTES = 4 * KIB;
/** A leaf is a SHA-256 cut to this length. */
export const LEAF_BYTES = 16;
/** One block of SHA-256: hashed before each block of a chunk. */
export const LEAF_KEY_BYTES = 64;
export const ID_BYTES = 32;
export const LEASE_ID_BYTES = 16;
export const KEY_ID_BYTES = 8;
export const SECRET_BYTES = 32;
export const REPOSITORY_ID_BYTES = 16;
export const REPOSITORY_MAC_BYTES = 32;

export const DEFAULT_CHUNK_BYTES = 4 * MIB;
export const MIN_CHUNK_BYTES = 64 * KIB;
export const MAX_CHUNK_BYTES = 32 * MIB;
/** Chunk ids in one page: 4 GiB of volume at the default chunk size. */
export const PAGE_CHUNKS = 1024;

/** A volume beyond this is refused: positions stay exact as JavaScript numbers with room to spare. */
export const MAX_VOLUME_BYTES = 2 ** 52;

/** So many pages a manifest names at most, each by up to 49 bytes: 56 MiB. */
export const MAX_PAGES = 1_200_000;

/** What a volume that is cut into such chunks can have. */
export function maxVolumeBytes(chunkBytes: number): number {
  return Math.min(MAX_VOLUME_BYTES, MAX_PAGES * PAGE_CHUNKS * chunkBytes);
}

export const MAX_NAME_BYTES = 200;

/** Of JSON: nobody writes a document that is longer, nor reads one. */
export const MAX_DOCUMENT_BYTES = MIB;
/** Longest snapshot name, the limit that `rbd import-diff` itself has. */
export const MAX_SNAPSHOT_NAME_BYTES = 4096;
/** Of what a host calls itself; Linux has 64. */
export const MAX_HOST_BYTES = 255;
/** Of what an operator says about a hold. */
export const MAX_REASON_BYTES = 1000;
export const MAX_TAGS = 64;
/** Of one tag: 100 characters. */
export const MAX_TAG_BYTES = 400;
/** Backups that one other passes over. */
export const MAX_PASSED_OVER = 10_000;
/** A `Date` can be made of it, and of thousands of years more. */
export const MAX_TIME_MS = 8e15;

/** Bytes of leaves of a chunk of `length` bytes. */
export function leavesBytes(length: number): number {
  return Math.ceil(length / BLOCK_BYTES) * LEAF_BYTES;
}

/** Bytes of the chunk at `position` of a volume; 0 past its end. */
export function chunkLength(position: number, volume: { sizeBytes: number; chunkBytes: number }): number {
  return Math.max(0, Math.min(volume.chunkBytes, volume.sizeBytes - position * volume.chunkBytes));
}
