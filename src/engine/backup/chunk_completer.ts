/**
 * What a stream did not give of a chunk: its leaves where whole blocks changed, its content where a block was cut, or
 * where the chunk is stored whole again.
 */
import type { ChunkCache } from "../../cache/chunk_cache.ts";
import { unlessUnreadable } from "../../errors.ts";
import type { Range } from "../../util/ranges.ts";
import type { ChunkLocation, Entry } from "../../format/entries.ts";
import { BLOCK_BYTES } from "../../format/limits.ts";
import type { SharedBuffer } from "../../volume/pool/buffers.ts";
import { ChunkReader, type ReadOptions } from "../../volume/read_chunk.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import { type ChunkContent, type ChunkWriter, WHOLE } from "../../volume/write_chunk.ts";
import type { Project } from "../../project/project.ts";
import type { ChunkPiece } from "../../volume/chunker.ts";

interface ChunkCompleterOptions {
  project: Project;
  resources: ChunkResources;
  writer: ChunkWriter;
  /** Of chunks that streams cover in part. */
  chunkCache: ChunkCache | undefined;
}

/** What a chunk was before, and the ranges of it that the stream did not give. */
interface Gaps {
  before: ChunkLocation;
  gaps: readonly Range[];
}

export class ChunkCompleter {
  /** Of patches and whole chunks; the writer counts leaves. */
  downloadedBytes = 0;
  readonly #options: ChunkCompleterOptions;
  readonly #reader: ChunkReader;

  constructor(options: ChunkCompleterOptions, signal: AbortSignal) {
    this.#options = options;
    const { project, resources, chunkCache: cache } = options;
    const onDownload = (bytes: number) => this.downloadedBytes += bytes;
    this.#reader = new ChunkReader({ project, resources, cache, onDownload }, signal);
  }

  /**
   * What the stream did not give is as before, zeros past the old chunk's end. Where it gave whole blocks, the leaves of
   * the others are enough, and their content is brought only should the chunk be stored whole.
   */
  async complete(piece: ChunkPiece, before: Entry): Promise<ChunkContent> {
    const gaps = piece.coverage.gaps(piece.length);
    if (before === undefined || gaps.length === 0) {
      for (const { from, to } of gaps) piece.buffer.bytes.fill(0, from, to);
      return WHOLE;
    }
    const areBlocks = gaps.every(({ from, to }) => isBlockEnd(from, piece) && isBlockEnd(to, piece));
    const leaves = areBlocks ? await this.#addLeaves(piece, { before, gaps }) : undefined;
    if (leaves === undefined) {
      await this.#fill(piece, { before, gaps, keep: true });
      return { kind: "whole", keep: true };
    }
    const fill = (sealed: SharedBuffer) => this.#fill(piece, { before, gaps, sealed });
    return { kind: "blocks", missing: gaps, baseLeaves: leaves, fill };
  }

  /** Calls `use` with the content of a stored chunk. */
  async read(
    location: ChunkLocation,
    { sealed, keep, use }: ReadOptions & { use: (content: Uint8Array) => void },
  ): Promise<void> {
    const { resources } = this.#options;
    // In this order: who has a base buffer never waits for one of the sealed.
    const room = sealed ?? await resources.sealed.acquire();
    const base = await resources.bases.acquire();
    try {
      const length = await this.#reader.read(base, location, { keep, sealed: room });
      use(base.bytes.subarray(0, length));
    } finally {
      base.release();
      if (sealed === undefined) room.release();
    }
  }

  /**
   * Puts the leaves of the chunk as it was behind the piece, and of its content the blocks in which it differs from the
   * whole chunk under it. The leaves of that; `undefined` where they cannot be had.
   */
  async #addLeaves(
    { buffer, position, length }: ChunkPiece,
    { before, gaps }: Gaps,
  ): Promise<Uint8Array | undefined> {
    const { project, writer } = this.#options;
    const leaves = await writer.leavesOf(before.base ?? before.object, { position, length });
    if (leaves === undefined) return undefined;
    buffer.bytes.set(leaves, project.chunkBytes);
    if (before.base === undefined) return leaves;
    // Reading the whole chunk says what is wrong.
    return await this.#reader.applyPatch(buffer, before, gaps).then(() => leaves).catch(unlessUnreadable);
  }

  /** Brings the content of the gaps. */
  async #fill({ buffer }: ChunkPiece, { before, gaps, ...options }: Gaps & ReadOptions): Promise<void> {
    await this.read(before, {
      ...options,
      use: (content) => {
        for (const { from, to } of gaps) {
          const known = content.subarray(from, to);
          buffer.bytes.set(known, from);
          buffer.bytes.fill(0, from + known.length, to);
        }
      },
    });
  }
}

/** Whether a block, or the chunk, ends at the byte. */
function isBlockEnd(at: number, { length }: ChunkPiece): boolean {
  return at % BLOCK_BYTES === 0 || at === length;
}
