/** Stores one difference of a volume: takes the chunker's pieces, fills their gaps, writes chunks, keeps the table. */
import type { ChunkCache } from "../../cache/chunk_cache.ts";
import { isUnreadable, unlessUnreadable, type UnreadableError } from "../../errors.ts";
import { type ChunkLocation, type Entry, type EntryList, refsOf } from "../../format/entries.ts";
import { PAGE_CHUNKS } from "../../format/limits.ts";
import type { ChunkCounts } from "../../format/manifest.ts";
import type { VolumeDiff } from "../../sources/source.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import { type ChunkWriter, type StoredChunk, WHOLE } from "../../volume/write_chunk.ts";
import { ChunkCompleter } from "./chunk_completer.ts";
import { type ChunkPiece, cutChunks, type VolumePiece } from "../../volume/chunker.ts";
import type { CondemnedObjects } from "../../project/sharing/condemned.ts";
import type { PageTable, PageWriter } from "../../volume/page_table.ts";
import type { PositionSet } from "../../util/position_set.ts";
import type { Project } from "../../project/project.ts";
import type { QuarantinedObjects } from "../../project/sharing/quarantine.ts";
import { TaskLimiter } from "../../util/task_limiter.ts";

interface VolumeProgress {
  sizeBytes: number | undefined;
  position: number;
  newBytes: number;
  reusedBytes: number;
  zeroBytes: number;
}

interface VolumeWriterOptions {
  project: Project;
  resources: ChunkResources;
  writer: ChunkWriter;
  /** What may condemn what the base refers to. */
  doubt: CondemnedObjects | undefined;
  marked: QuarantinedObjects;
  /** The base's table, or an empty one. */
  table: PageTable;
  /** What the volume held last, of a full stream: most of it is there already, if the store says so. */
  previous: PageTable | undefined;
  /** Called for a page of the previous table that cannot be read; its chunks are looked for one by one. */
  onLostPage: (error: UnreadableError) => void;
  baseSizeBytes: number;
  /** Collects the positions of which the difference itself gave every byte. */
  covered?: PositionSet | undefined;
  /** Of chunks that streams cover in part. */
  chunkCache: ChunkCache | undefined;
  onProgress: (progress: VolumeProgress) => void;
}

export interface WrittenVolume {
  pages: EntryList;
  counts: ChunkCounts;
  sizeBytes: number;
  /** Of what the point has from its base, untouched: chunks that were found damaged, and pages that cannot be read. */
  broken: { chunks: number; pages: number };
}

export class VolumeWriter {
  readonly #options: VolumeWriterOptions;
  readonly #window: TaskLimiter;
  /** Positions whose chunk is at work: a later piece of the same position has to wait for it. */
  readonly #atWork = new Set<number>();
  readonly #lostPages = new Set<number>();
  readonly #writePage: PageWriter;
  readonly #counts: ChunkCounts = { total: 0, changed: 0, zero: 0, new: 0, patched: 0, reused: 0 };
  readonly #completer: ChunkCompleter;
  readonly #progress: VolumeProgress = {
    sizeBytes: undefined,
    position: 0,
    newBytes: 0,
    reusedBytes: 0,
    zeroBytes: 0,
  };

  constructor(options: VolumeWriterOptions, signal: AbortSignal) {
    this.#options = options;
    this.#window = new TaskLimiter(options.resources.window + options.resources.jobs);
    this.#completer = new ChunkCompleter(options, signal);
    this.#writePage = (id, page, known) => options.writer.writePage(id, page, known);
  }

  get downloadedBytes(): number {
    return this.#completer.downloadedBytes + this.#options.writer.downloadedBytes;
  }

  async write(diff: VolumeDiff): Promise<WrittenVolume> {
    const { project, resources, table } = this.#options;
    this.#progress.sizeBytes = diff.sizeBytes;
    const rebuild = rebuiltPosition(this.#options.baseSizeBytes, diff.sizeBytes, project.chunkBytes);
    try {
      for await (const piece of cutChunks(diff, resources.cutting(rebuild))) await this.#take(piece);
      await this.#window.drain();
    } finally {
      await this.#window.settle();
    }
    const sizeBytes = diff.sizeBytes!;
    const total = Math.ceil(sizeBytes / project.chunkBytes);
    const { doubt } = this.#options;
    if (doubt !== undefined) await this.#rescue(total, doubt);
    const broken = await this.#countBroken(total);
    const isCut = sizeBytes < this.#options.baseSizeBytes;
    const pages = await table.finish(total, this.#writePage, { isCut });
    return { pages, counts: { ...this.#counts, total }, sizeBytes, broken };
  }

  async #take(piece: VolumePiece): Promise<void> {
    try {
      if (this.#conflicts(piece)) await this.#window.drain();
      if (isWhole(piece)) {
        this.#options.covered?.add(piece.position, piece.kind === "zeros" ? piece.count : 1);
      }
      if (piece.kind === "zeros") return await this.#zeros(piece);
      this.#atWork.add(piece.position);
      await this.#window.add(() => this.#chunk(piece));
    } catch (error) {
      if (piece.kind === "chunk") piece.buffer.release();
      throw error;
    }
  }

  #conflicts(piece: VolumePiece): boolean {
    if (piece.kind === "chunk") return this.#atWork.has(piece.position);
    for (const at of this.#atWork) if (at >= piece.position && at < piece.position + piece.count) return true;
    return false;
  }

  async #zeros(piece: Extract<VolumePiece, { kind: "zeros" }>): Promise<void> {
    const { project, table } = this.#options;
    await table.setZeros(piece.position, piece.count, this.#writePage);
    this.#counts.changed += piece.count;
    this.#counts.zero += piece.count;
    this.#progress.zeroBytes += piece.count * project.chunkBytes;
    this.#tell(piece.position + piece.count);
  }

  async #chunk(piece: ChunkPiece): Promise<void> {
    const { previous, table, writer } = this.#options;
    const { position } = piece;
    try {
      const before = await table.get(position);
      // What the stream itself made of the position counts before what was there.
      const candidate = before ?? await this.#previous(position);
      const stored = await writer.write(piece, {
        ...{ position, candidate, trustsCandidate: previous === undefined },
        content: await this.#completer.complete(piece, before),
      });
      await table.set(position, stored.entry, this.#writePage);
      this.#count(stored, piece);
    } finally {
      piece.buffer.release();
      this.#atWork.delete(position);
    }
  }

  /** It only saves work: a full stream is stored without it as well. */
  async #previous(position: number): Promise<Entry> {
    const { previous, onLostPage } = this.#options;
    const page = Math.floor(position / PAGE_CHUNKS);
    if (previous === undefined || this.#lostPages.has(page)) return undefined;
    try {
      return await previous.get(position);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (!this.#lostPages.has(page)) onLostPage(error);
      this.#lostPages.add(page);
    }
  }

  /** What the table still has from the base, and is known not to be whole; nothing is read where nothing is known. */
  async #countBroken(total: number): Promise<WrittenVolume["broken"]> {
    const { marked, table, writer } = this.#options;
    const broken = { chunks: 0, pages: 0 };
    if (marked.none) return broken;
    const isBroken = (entry: Entry) =>
      entry !== undefined && refsOf(entry).some((ref) => marked.has(ref) && !writer.hasSeen(ref));
    for (let page = 0; page < Math.min(table.pageCount, Math.ceil(total / PAGE_CHUNKS)); page++) {
      const entries = await table.page(page).catch(unlessUnreadable);
      if (entries === undefined) broken.pages++;
      const end = Math.min(total - page * PAGE_CHUNKS, entries?.length ?? 0);
      for (let at = 0; at < end; at++) if (isBroken(entries!.get(at))) broken.chunks++;
    }
    return broken;
  }

  /**
   * Whatever the table still has from the base and a gc plan condemns goes up again under a key of this backup's own:
   * chunks first, then the pages that are condemned themselves. `total`: positions that the volume has now.
   */
  async #rescue(total: number, condemned: CondemnedObjects): Promise<void> {
    const { table } = this.#options;
    const pages = Math.min(table.pageCount, Math.ceil(total / PAGE_CHUNKS));
    for (let page = 0; page < pages; page++) {
      const ref = table.pageRef(page);
      if (ref !== undefined && await condemned.has(ref)) await table.storeAgain(page, this.#writePage);
      const end = Math.min(total, (page + 1) * PAGE_CHUNKS);
      for (let position = page * PAGE_CHUNKS; position < end; position++) {
        const entry = await table.get(position);
        if (entry === undefined || !await condemned.has(...refsOf(entry))) continue;
        await this.#rescueChunk(position, entry);
      }
    }
  }

  async #rescueChunk(position: number, location: ChunkLocation): Promise<void> {
    const { table, writer, resources } = this.#options;
    const buffer = await resources.chunks.acquire();
    try {
      let length = 0;
      const use = (content: Uint8Array) => {
        buffer.bytes.set(content);
        length = content.length;
      };
      await this.#completer.read(location, { use });
      const { entry } = await writer.write({ buffer, length }, { position, content: WHOLE });
      await table.set(position, entry, this.#writePage);
    } finally {
      buffer.release();
    }
  }

  #count({ outcome }: StoredChunk, piece: ChunkPiece): void {
    this.#counts.changed++;
    this.#counts[outcome]++;
    if (outcome === "new" || outcome === "patched") this.#progress.newBytes += piece.length;
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

function isWhole(piece: VolumePiece): boolean {
  return piece.kind === "zeros" || piece.coverage.covers(piece.length);
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
