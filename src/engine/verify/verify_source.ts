/**
 * Verify against a source: is the point what the live snapshot holds? Where they differ, the stored chunk is read back: if
 * it is whole, the source is not what was backed up (or the stream of that time was wrong), else the backup is damaged.
 */
import type { Secret } from "../../codec/keys.ts";
import { describeError, isUnreadable, VarveError } from "../../errors.ts";
import { equalBytes } from "../../format/bytes.ts";
import type { Entry } from "../../format/entries.ts";
import type { Source } from "../../source/source.ts";
import { findBackup, type OpenManifest, readManifest } from "../catalog.ts";
import { readChunk } from "../chunks/read_chunk.ts";
import { ChunkWorkshop, OPEN_CHUNKS } from "../chunks/workshop.ts";
import { type ChunkPiece, cutChunks, type Piece } from "../backup/chunker.ts";
import type { Context } from "../context.ts";
import { PageTable } from "../page_table.ts";
import { openProject } from "../open_project.ts";
import type { Project } from "../project.ts";
import type { Repository } from "../repository.ts";
import { VolumeCache } from "../volume_cache.ts";
import { Window } from "../window.ts";

export interface VerifySourceOptions {
  project: string;
  volume: string;
  point: string | undefined;
  secrets: readonly Secret[];
  /** Raw bytes of the whole volume. */
  source: Source;
}

/** A chunk in which point and source differ. */
export interface Difference {
  offset: number;
  length: number;
  /** `source`: the stored chunk is whole, the source holds something else. `backup`: the stored chunk is damaged. */
  wrong: "source" | "backup";
  reason: string;
}

/** The JSON of `varve verify --source`. */
export interface VerifySourceReport {
  backup: string;
  size_bytes: number;
  /** Compared. */
  chunks: number;
  differences: Difference[];
  duration_s: number;
}

/** Compares a whole source with a point. Throws where their sizes differ. */
export async function verifySource(
  repository: Repository,
  options: VerifySourceOptions,
  context: Context,
): Promise<VerifySourceReport> {
  const startedMs = context.clock.now();
  const { project: name, volume, point, secrets } = options;
  const project = await openProject(repository, { name, secrets }, context);
  const backup = await findBackup(project, { volume, point }, context);
  const manifest = await readManifest(project, { volume, backup }, context);
  const cache = await VolumeCache.open({ project, volume }, context);
  const workshop = new ChunkWorkshop({ chunkBytes: project.chunkBytes, from: "stream" }, context);
  try {
    const { key } = manifest;
    const table = new PageTable(manifest.pages, { project, key, local: cache, signal: context.signal });
    const comparison = new Comparison({ project, manifest, table, workshop }, context);
    await comparison.run(options.source);
    const { chunks, differences } = comparison;
    differences.sort((a, b) => a.offset - b.offset);
    const duration_s = (context.clock.now() - startedMs) / 1000;
    return { backup, size_bytes: manifest.info.size_bytes, chunks, differences, duration_s };
  } finally {
    await cache.close();
    await workshop.close();
  }
}

interface ComparisonParts {
  project: Project;
  manifest: OpenManifest;
  table: PageTable;
  workshop: ChunkWorkshop;
}

class Comparison {
  chunks = 0;
  readonly differences: Difference[] = [];
  readonly #parts: ComparisonParts;
  readonly #context: Context;

  constructor(parts: ComparisonParts, context: Context) {
    this.#parts = parts;
    this.#context = context;
  }

  async run(source: Source): Promise<void> {
    const { workshop, project, manifest } = this.#parts;
    const window = new Window(workshop.window);
    const chunker = {
      chunkBytes: project.chunkBytes,
      buffers: workshop.chunks,
      maxOpen: OPEN_CHUNKS,
      rebuild: [],
    };
    try {
      for await (const diff of source.diffs()) {
        for await (const piece of cutChunks(diff, chunker)) await this.#take(piece, window);
        checkSize(source, { has: diff.sizeBytes!, wanted: manifest.info.size_bytes });
      }
      await window.drain();
    } finally {
      await window.settle();
    }
  }

  async #take(piece: Piece, window: Window): Promise<void> {
    if (piece.kind === "chunk") return await window.add(() => this.#chunk(piece));
    const { size_bytes, chunk_bytes } = this.#parts.manifest.info;
    for (let at = piece.position; at < piece.position + piece.count; at++) {
      const length = Math.min(chunk_bytes, size_bytes - at * chunk_bytes);
      await window.add(() => this.#compare(undefined, { position: at, length }));
    }
  }

  async #chunk(piece: ChunkPiece): Promise<void> {
    const { workshop, manifest } = this.#parts;
    let id: Uint8Array | undefined;
    try {
      id = await workshop.pool.hash(piece, manifest.key.idKey);
    } finally {
      piece.buffer.release();
    }
    await this.#compare(id, piece);
  }

  async #compare(id: Uint8Array | undefined, at: { position: number; length: number }): Promise<void> {
    this.chunks++;
    const differ = await this.#differ(id, at.position);
    if (differ === undefined) return;
    const offset = at.position * this.#parts.manifest.info.chunk_bytes;
    this.differences.push({ offset, length: at.length, ...differ });
  }

  /** `undefined` where both have the same. Without its page nobody knows what the point has there. */
  async #differ(
    id: Uint8Array | undefined,
    position: number,
  ): Promise<Pick<Difference, "wrong" | "reason"> | undefined> {
    let entry: Entry;
    try {
      entry = await this.#parts.table.get(position);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return { wrong: "backup", reason: describeError(error) };
    }
    const equal = id === undefined || entry === undefined ? id === entry : equalBytes(id, entry.id);
    return equal ? undefined : await this.#blame(entry);
  }

  async #blame(entry: Entry): Promise<Pick<Difference, "wrong" | "reason">> {
    if (entry === undefined) return { wrong: "source", reason: "the point has zeros there" };
    const { project, workshop } = this.#parts;
    const buffer = await workshop.bases.acquire();
    try {
      await readChunk(buffer, entry, { project, workshop, signal: this.#context.signal });
      return { wrong: "source", reason: "the stored chunk is whole, the source holds something else" };
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return { wrong: "backup", reason: describeError(error) };
    } finally {
      buffer.release();
    }
  }
}

function checkSize(source: Source, { has, wanted }: { has: number; wanted: number }): void {
  if (has === wanted) return;
  throw new VarveError(
    "damage",
    `Cannot verify with "${source.name}": it has ${has} bytes, the point has ${wanted}`,
  );
}
