/** Stores one difference of a volume: takes the chunker's pieces, fills their gaps, writes chunks, keeps the table. */
import type { ChunkCache } from "../../cache/chunk_cache.ts";
import { MissingError, VarveError } from "../../errors.ts";
import type { EntryList } from "../../format/entries.ts";
import type { ObjectRef } from "../../format/layout.ts";
import { PAGE_CHUNKS } from "../../format/limits.ts";
import type { ChunkCounts } from "../../format/manifest.ts";
import type { VolumeDiff } from "../../source/source.ts";
import {
  type ChunkWorkshop,
  type ChunkWriter,
  fetchChunk,
  OPEN_CHUNKS,
  type StoredChunk,
} from "../chunk_store.ts";
import { cutChunks, type Piece } from "./chunker.ts";
import type { Condemned } from "../gc/condemned.ts";
import type { Context } from "../context.ts";
import type { PageTable, PageWriter } from "../page_table.ts";
import type { Project } from "../project.ts";
import { Window } from "../window.ts";

type ChunkPiece = Extract<Piece, { kind: "chunk" }>;

export interface VolumeProgress {
  sizeBytes: number | undefined;
  position: number;
  newBytes: number;
  reusedBytes: number;
  zeroBytes: number;
}

export interface VolumeWriterOptions {
  project: Project;
  workshop: ChunkWorkshop;
  writer: ChunkWriter;
  condemned: Condemned;
  /** The base's table, or an empty one. */
  table: PageTable;
  /** What the volume held last, where that is not the base: most of a full stream is there already. */
  hints: PageTable | undefined;
  baseSizeBytes: number;
  /** Of chunks that streams cover in part. */
  chunkCache: ChunkCache | undefined;
  onProgress: (progress: VolumeProgress) => void;
}

export interface WrittenVolume {
  pages: EntryList;
  counts: ChunkCounts;
  sizeBytes: number;
}

export class VolumeWriter {
  readonly #options: VolumeWriterOptions;
  readonly #context: Context;
  readonly #window: Window;
  /** Positions whose chunk is at work: a later piece of the same position has to wait for it. */
  readonly #atWork = new Set<number>();
  readonly #writePage: PageWriter;
  readonly #counts: ChunkCounts = { total: 0, changed: 0, zero: 0, new: 0, reused: 0 };
  readonly #progress: VolumeProgress = {
    sizeBytes: undefined,
    position: 0,
    newBytes: 0,
    reusedBytes: 0,
    zeroBytes: 0,
  };

  constructor(options: VolumeWriterOptions, context: Context) {
    this.#options = options;
    this.#context = context;
    this.#window = new Window(options.workshop.window + options.workshop.jobs);
    this.#writePage = (id, page, known) => options.writer.writePage(id, page, known);
  }

  async write(diff: VolumeDiff): Promise<WrittenVolume> {
    const { project, workshop, table } = this.#options;
    this.#progress.sizeBytes = diff.sizeBytes;
    const rebuild = rebuiltPosition(this.#options.baseSizeBytes, diff.sizeBytes, project.chunkBytes);
    const chunker = {
      chunkBytes: project.chunkBytes,
      buffers: workshop.chunks,
      maxOpen: OPEN_CHUNKS,
      rebuild,
    };
    try {
      for await (const piece of cutChunks(diff, chunker)) await this.#take(piece);
      await this.#window.drain();
    } finally {
      await this.#window.settle();
    }
    const sizeBytes = diff.sizeBytes!;
    const total = Math.ceil(sizeBytes / project.chunkBytes);
    if (!this.#options.condemned.none) await this.#rescue(total);
    const pages = await table.finish(total, this.#writePage);
    return { pages, counts: { ...this.#counts, total }, sizeBytes };
  }

  async #take(piece: Piece): Promise<void> {
    try {
      if (this.#conflicts(piece)) await this.#window.drain();
      if (piece.kind === "zeros") return await this.#zeros(piece);
      this.#atWork.add(piece.position);
      await this.#window.add(() => this.#chunk(piece));
    } catch (error) {
      if (piece.kind === "chunk") piece.buffer.release();
      throw error;
    }
  }

  #conflicts(piece: Piece): boolean {
    if (piece.kind === "chunk") return this.#atWork.has(piece.position);
    for (const at of this.#atWork) if (at >= piece.position && at < piece.position + piece.count) return true;
    return false;
  }

  async #zeros(piece: Extract<Piece, { kind: "zeros" }>): Promise<void> {
    const { project, table } = this.#options;
    await table.setZeros(piece.position, piece.count, this.#writePage);
    this.#counts.changed += piece.count;
    this.#counts.zero += piece.count;
    this.#progress.zeroBytes += piece.count * project.chunkBytes;
    this.#tell(piece.position + piece.count);
  }

  async #chunk(piece: ChunkPiece): Promise<void> {
    const { hints, table, writer } = this.#options;
    try {
      const partial = await this.#fillGaps(piece);
      const hint = await (hints ?? table).get(piece.position);
      const stored = await writer.write(piece, { hint, partial });
      await table.set(piece.position, stored.entry, this.#writePage);
      this.#count(stored, piece);
    } finally {
      piece.buffer.release();
      this.#atWork.delete(piece.position);
    }
  }

  /** The bytes that the stream did not give are as before, zeros past the old chunk's end. True where there are any. */
  async #fillGaps(piece: ChunkPiece): Promise<boolean> {
    const gaps = piece.coverage.gaps(piece.length);
    if (gaps.length === 0) return false;
    const entry = await this.#options.table.get(piece.position);
    const { bytes } = piece.buffer;
    if (entry === undefined) {
      for (const { from, to } of gaps) bytes.fill(0, from, to);
      return true;
    }
    await this.#withChunk(entry, (base) => {
      for (const { from, to } of gaps) {
        const known = base.subarray(from, to);
        bytes.set(known, from);
        bytes.fill(0, from + known.length, to);
      }
    });
    return true;
  }

  /** Calls `use` with the content of a stored chunk. */
  async #withChunk(ref: ObjectRef, use: (content: Uint8Array) => void | Promise<void>): Promise<void> {
    const { project, workshop, chunkCache: cache } = this.#options;
    const base = await workshop.bases.acquire();
    try {
      const { length } = await fetchChunk(base, ref, {
        project,
        workshop,
        cache,
        signal: this.#context.signal,
      });
      await use(base.bytes.subarray(0, length));
    } finally {
      base.release();
    }
  }

  /**
   * Whatever the table still has from the base and a gc plan condemns goes up again under a key of this backup's own:
   * chunks first, then the pages that are condemned themselves. `total`: positions that the volume has now.
   */
  async #rescue(total: number): Promise<void> {
    const { condemned, table } = this.#options;
    const pages = Math.min(table.pageCount, Math.ceil(total / PAGE_CHUNKS));
    for (let page = 0; page < pages; page++) {
      const ref = table.pageRef(page);
      if (ref !== undefined && await condemned.has(ref)) await table.touch(page, this.#writePage);
      const end = Math.min(total, (page + 1) * PAGE_CHUNKS);
      for (let position = page * PAGE_CHUNKS; position < end; position++) {
        const entry = await table.get(position);
        if (entry !== undefined && await condemned.has(entry)) await this.#rescueChunk(position, entry);
      }
    }
  }

  async #rescueChunk(position: number, ref: ObjectRef): Promise<void> {
    const { table, writer, workshop } = this.#options;
    const buffer = await workshop.chunks.acquire();
    try {
      let length = 0;
      await this.#withChunk(ref, (content) => {
        buffer.bytes.set(content);
        length = content.length;
      });
      const { entry } = await writer.write({ buffer, length }, { hint: undefined, partial: false });
      await table.set(position, entry, this.#writePage);
    } catch (cause) {
      if (!(cause instanceof MissingError)) throw cause;
      const thing = `${this.#options.project.name}: chunk ${position}`;
      throw new VarveError(
        "conflict",
        `Cannot keep "${thing}": the base was forgotten meanwhile; run it again`,
        { cause },
      );
    } finally {
      buffer.release();
    }
  }

  #count({ outcome }: StoredChunk, piece: ChunkPiece): void {
    this.#counts.changed++;
    this.#counts[outcome]++;
    if (outcome === "new") this.#progress.newBytes += piece.length;
    if (outcome === "reused") this.#progress.reusedBytes += piece.length;
    if (outcome === "zero") this.#progress.zeroBytes += piece.length;
    this.#tell(piece.position + 1);
  }

  #tell(position: number): void {
    const reached = position * this.#options.project.chunkBytes;
    this.#progress.position = Math.max(
      this.#progress.position,
      Math.min(reached, this.#progress.sizeBytes ?? reached),
    );
    this.#options.onProgress(this.#progress);
  }
}

/**
 * A change of size cuts or lengthens one chunk, without any record in the stream: the one in which the smaller of both
 * sizes ends.
 */
function rebuiltPosition(before: number, after: number | undefined, chunkBytes: number): number[] {
  if (after === undefined || before === after) return [];
  const smaller = Math.min(before, after);
  return smaller % chunkBytes === 0 ? [] : [Math.floor(smaller / chunkBytes)];
}
