/**
 * Cuts a stream of extents along the volume's chunks. Extents come in any order and overlap; a chunk is handed on when
 * it is covered, or pushed out by others. What was handed on may be touched again: whoever takes the pieces then fills
 * its gaps from what it made of the piece before, so any order is right and ascending streams cost nothing extra.
 */
import { Coverage } from "../util/ranges.ts";
import { chunkLength, MAX_VOLUME_BYTES } from "../format/limits.ts";
import type { BufferPool, SharedBuffer } from "./pool/buffers.ts";
import type { Extent, VolumeDiff } from "../sources/source.ts";

export type VolumePiece =
  /** A chunk in a buffer that the taker has to release; bytes outside `coverage` are undefined. */
  | { kind: "chunk"; position: number; buffer: SharedBuffer; length: number; coverage: Coverage }
  /** Whole chunks of zeros. */
  | { kind: "zeros"; position: number; count: number };

export type ChunkPiece = Extract<VolumePiece, { kind: "chunk" }>;

export interface ChunkerOptions {
  chunkBytes: number;
  buffers: BufferPool;
  /** Chunks held open at once. */
  maxOpen: number;
  /** Positions to hand on even if no extent touches them: where a change of size cuts or lengthens a chunk. */
  rebuild: readonly number[];
}

interface OpenChunk {
  buffer: SharedBuffer;
  coverage: Coverage;
}

/** The pieces of a volume, in the order in which they are ready. Ended early, it releases what it holds. */
export async function* cutChunks(diff: VolumeDiff, options: ChunkerOptions): AsyncGenerator<VolumePiece> {
  const chunker = new Chunker(diff, options);
  try {
    for (const position of options.rebuild) yield* chunker.require(position);
    for await (const extent of diff.extents()) yield* chunker.extent(extent);
    yield* chunker.rest();
  } finally {
    chunker.release();
  }
}

class Chunker {
  readonly #diff: VolumeDiff;
  readonly #options: ChunkerOptions;
  /** By position, the one touched longest ago first. */
  readonly #open = new Map<number, OpenChunk>();

  constructor(diff: VolumeDiff, options: ChunkerOptions) {
    this.#diff = diff;
    this.#options = options;
  }

  async *extent(extent: Extent): AsyncGenerator<VolumePiece> {
    const { chunkBytes } = this.#options;
    const end = extent.offset + extent.length;
    for (let at = extent.offset; at < end;) {
      const position = Math.floor(at / chunkBytes);
      const whole = extent.kind === "zero" ? this.#wholeChunks(at, end) : 0;
      if (whole > 0) {
        this.#drop(position, whole);
        yield { kind: "zeros", position, count: whole };
        at = Math.min(end, (position + whole) * chunkBytes);
        continue;
      }
      const to = Math.min(end, (position + 1) * chunkBytes);
      yield* this.#fill(extent, {
        position,
        from: at - position * chunkBytes,
        to: to - position * chunkBytes,
      });
      at = to;
    }
  }

  /** Makes sure that the chunk is handed on at the end. */
  async *require(position: number): AsyncGenerator<VolumePiece> {
    yield* this.#makeRoom(position);
    await this.#openChunk(position);
  }

  /** What is still open, in order. */
  *rest(): Generator<VolumePiece> {
    for (const position of [...this.#open.keys()].sort((a, b) => a - b)) yield this.#take(position);
  }

  release(): void {
    for (const { buffer } of this.#open.values()) buffer.release();
    this.#open.clear();
  }

  async *#fill(
    extent: Extent,
    range: { position: number; from: number; to: number },
  ): AsyncGenerator<VolumePiece> {
    const { position, from, to } = range;
    yield* this.#makeRoom(position);
    const chunk = await this.#openChunk(position);
    const bytes = chunk.buffer.bytes.subarray(from, to);
    if (extent.kind === "zero") bytes.fill(0);
    else await extent.read(bytes);
    chunk.coverage.add(from, to);
    if (chunk.coverage.covers(this.#length(position))) yield this.#take(position);
  }

  /** How many whole chunks begin at `at` and end by `end`; the volume's last chunk may be shorter. */
  #wholeChunks(at: number, end: number): number {
    const { chunkBytes } = this.#options;
    if (at % chunkBytes !== 0) return 0;
    return end === this.#diff.sizeBytes
      ? Math.ceil((end - at) / chunkBytes)
      : Math.floor((end - at) / chunkBytes);
  }

  #length(position: number): number {
    const sizeBytes = this.#diff.sizeBytes ?? MAX_VOLUME_BYTES;
    return chunkLength(position, { sizeBytes, chunkBytes: this.#options.chunkBytes });
  }

  *#makeRoom(position: number): Generator<VolumePiece> {
    if (this.#open.has(position) || this.#open.size < this.#options.maxOpen) return;
    yield this.#take(this.#open.keys().next().value!);
  }

  async #openChunk(position: number): Promise<OpenChunk> {
    const open = this.#open.get(position);
    this.#open.delete(position);
    const chunk = open ?? { buffer: await this.#options.buffers.acquire(), coverage: new Coverage() };
    this.#open.set(position, chunk);
    return chunk;
  }

  #take(position: number): VolumePiece {
    const { buffer, coverage } = this.#open.get(position)!;
    this.#open.delete(position);
    return { kind: "chunk", position, buffer, length: this.#length(position), coverage };
  }

  #drop(position: number, count: number): void {
    for (const open of [...this.#open.keys()]) {
      if (open < position || open >= position + count) continue;
      this.#open.get(open)!.buffer.release();
      this.#open.delete(open);
    }
  }
}
