/**
 * Verify against a source: is the point what the source holds? Where they differ, the stored chunk is read back: what cannot
 * be read is damage. What can be read is only known to be what was backed up: the source may be of another state, or an
 * increment was taken against another base.
 */
import type { Secret } from "../../codec/keys.ts";
import { describeError, isUnreadable, UsageError, VarveError } from "../../errors.ts";
import { sameBytes } from "../../util/bytes.ts";
import type { Entry } from "../../format/entries.ts";
import { chunkLength } from "../../format/limits.ts";
import { idsDiffer, idsMatch, type SourceIds } from "../../format/source_ids.ts";
import { isRbdStream } from "../../rbd/export.ts";
import type { Source, VolumeDiff } from "../../sources/source.ts";
import type { Finding } from "./findings.ts";
import { missingPoints, type ReadPoints } from "./missing_points.ts";
import { findBackup } from "../../project/find_backup.ts";
import { type OpenManifest, readManifest } from "../../project/manifests.ts";
import { ChunkReader } from "../../volume/read_chunk.ts";
import { ChunkResources } from "../../volume/resources.ts";
import { type ChunkPiece, cutChunks } from "../../volume/chunker.ts";
import type { Context } from "../../context.ts";
import { PageTable } from "../../volume/page_table.ts";
import { openProject } from "../../project/open_project.ts";
import type { Project } from "../../project/project.ts";
import type { Repository } from "../../project/repository.ts";
import { PageCache } from "../../volume/page_cache.ts";
import { mapOrdered } from "../../util/task_limiter.ts";
import { type ByteRange, ByteRanges } from "../../util/byte_ranges.ts";

interface VerifySourceOptions {
  project: string;
  volume: string;
  point: string | undefined;
  secrets: readonly Secret[];
  /** Told how many chunks were compared, of `total`. */
  onProgress?: ((progress: { chunks: number; total: number }) => void) | undefined;
  /** Raw bytes of the whole volume. */
  source: Source;
}

/** The JSON of `varve verify --source`. Ranges are of whole chunks: merged, ascending, the first 1,000. */
export interface VerifySourceReport {
  backup: string;
  size_bytes: number;
  /** Whether the source is the snapshot that was backed up, by ids; `null` where these do not tell. */
  is_same_snapshot: boolean | null;
  /** Compared. */
  chunks: number;
  /** Where the source holds something else. */
  differs: RangeReport;
  /** Where the source does not hold what was backed up, as far as that is known, and what was stored cannot be read. */
  unreadable: RangeReport & { /** Of the first chunk. */ reason: string | null };
  /** Points of the volume that this host has seen and that are gone, as a verify of the volume tells them. */
  missing: Pick<Finding, "key" | "reason">[];
  duration_s: number;
}

export interface RangeReport {
  bytes: number;
  ranges: ByteRange[];
  /** Left out of `ranges`. */
  more_ranges: number;
}

/**
 * Compares a whole source with a point. Throws `damage` where their sizes differ, `UsageError` where the source is a stream of
 * rbd instead of the volume's bytes.
 */
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
  const isSameSnapshot = isSame(manifest.info, options.source.ids);
  if (isSameSnapshot === false) {
    context.log.warn({}, `"${options.source.name}" has another snapshot id than restore point ${backup}`);
  }
  await using resources = new ChunkResources({ chunkBytes: project.chunkBytes, from: "stream" }, context);
  await using cache = await PageCache.open({ project, volume }, context);
  const { keys } = manifest;
  const table = new PageTable(manifest.pages, { project, keys, local: cache, signal: context.signal });
  const { total } = manifest.info.chunks;
  const onChunk = (chunks: number) => options.onProgress?.({ chunks, total });
  const comparison = new Comparison({ project, manifest, table, resources, onChunk }, context);
  await comparison.run(options.source);
  const { chunks, differs, unreadable, reason = null } = comparison;
  const missing = await Array.fromAsync(
    missingPoints(project, { read: NOTHING_READ, scope: { volume, backup } }, context),
    (error) => ({ key: error.key, reason: describeError(error) }),
  );
  return {
    backup,
    size_bytes: manifest.info.size_bytes,
    is_same_snapshot: isSameSnapshot,
    chunks,
    differs: reportOf(differs),
    unreadable: { ...reportOf(unreadable), reason },
    missing,
    duration_s: (context.clock.now() - startedMs) / 1000,
  };
}

const NOTHING_READ: ReadPoints = { points: new Set(), passedOver: new Map() };

function isSame(point: SourceIds, source: SourceIds = {}): boolean | null {
  const names = ["source_id", "source_snapshot_id"] as const;
  if (names.some((name) => idsDiffer(point[name], source[name]))) return false;
  return names.every((name) => idsMatch(point[name], source[name])) ? true : null;
}

function reportOf({ bytes, told, more }: ByteRanges): RangeReport {
  return { bytes, ranges: told, more_ranges: more };
}

interface ComparisonParts {
  project: Project;
  manifest: OpenManifest;
  table: PageTable;
  resources: ChunkResources;
  onChunk: (chunks: number) => void;
}

/** A position of the source, in a buffer or all zeros. */
type SourceChunk = ChunkPiece | { kind: "zeros"; position: number };

/** What comparing a position has found; `reason` is why what was stored there cannot be read. */
type Outcome =
  & { position: number }
  & ({ kind: "equal" | "differs" } | { kind: "unreadable"; reason: string });

class Comparison {
  chunks = 0;
  readonly differs = new ByteRanges();
  readonly unreadable = new ByteRanges();
  /** Of the first chunk that cannot be read. */
  reason: string | undefined;
  readonly #parts: ComparisonParts;
  readonly #context: Context;

  constructor(parts: ComparisonParts, context: Context) {
    this.#parts = parts;
    this.#context = context;
  }

  async run(source: Source): Promise<void> {
    const { manifest, resources } = this.#parts;
    const wanted = manifest.info.size_bytes;
    for await (const diff of source.diffs()) {
      const compare = (chunk: SourceChunk) => this.#compare(chunk, source);
      const options = { limit: resources.window };
      for await (const outcome of mapOrdered(this.#chunks(diff), compare, options)) {
        assertSize(source, { has: diff.sizeBytes ?? wanted, wanted });
        this.#add(outcome);
      }
      assertSize(source, { has: diff.sizeBytes!, wanted });
    }
  }

  /** In ascending order, like the bytes of the source. */
  async *#chunks(diff: VolumeDiff): AsyncGenerator<SourceChunk> {
    for await (const piece of cutChunks(diff, this.#parts.resources.cutting())) {
      if (piece.kind === "chunk") yield piece;
      else for (let at = 0; at < piece.count; at++) yield { kind: "zeros", position: piece.position + at };
    }
  }

  #add(outcome: Outcome): void {
    this.#parts.onChunk(++this.chunks);
    if (outcome.kind === "equal") return;
    if (outcome.kind === "unreadable") this.reason ??= outcome.reason;
    const { size_bytes: sizeBytes, chunk_bytes: chunkBytes } = this.#parts.manifest.info;
    const { position } = outcome;
    this[outcome.kind].add(position * chunkBytes, chunkLength(position, { sizeBytes, chunkBytes }));
  }

  async #compare(chunk: SourceChunk, source: Source): Promise<Outcome> {
    const { position } = chunk;
    const { id, isStream } = chunk.kind === "zeros" ? ZEROS : await this.#hash(chunk);
    let entry: Entry;
    try {
      entry = await this.#parts.table.get(position);
    } catch (error) {
      return unreadable(position, error);
    }
    if (sameBytes(id, entry?.id)) return { kind: "equal", position };
    if (isStream) throw this.#notTheVolume(source);
    return await this.#readBack(position, entry);
  }

  /** The id of what the source holds, and whether it begins as a stream of rbd does. */
  async #hash(chunk: ChunkPiece): Promise<{ id: Uint8Array | undefined; isStream: boolean }> {
    const { resources, manifest } = this.#parts;
    try {
      const isStream = chunk.position === 0 && isRbdStream(chunk.buffer.bytes.subarray(0, chunk.length));
      return { id: await resources.pool.hash(chunk, manifest.keys), isStream };
    } finally {
      chunk.buffer.release();
    }
  }

  /** Can what was stored for a position in which both differ be read? */
  async #readBack(position: number, entry: Entry): Promise<Outcome> {
    if (entry === undefined) return { kind: "differs", position };
    const { project, resources } = this.#parts;
    const buffer = await resources.bases.acquire();
    try {
      await new ChunkReader({ project, resources }, this.#context.signal).read(buffer, entry);
      return { kind: "differs", position };
    } catch (error) {
      return unreadable(position, error);
    } finally {
      buffer.release();
    }
  }

  #notTheVolume({ name }: Source): UsageError {
    const { project, volume, backup } = this.#parts.manifest.info;
    const spec = `${project}/${volume}@${backup}`;
    return new UsageError(
      `Cannot compare "${spec}" with "${name}": it is an rbd stream, not the raw volume; ` +
        `use "rbd export POOL/IMAGE@SNAP - | varve verify ${spec} --source -"`,
    );
  }
}

const ZEROS = { id: undefined, isStream: false };

/** Rethrows what is no trouble with one object. */
function unreadable(position: number, error: unknown): Outcome {
  if (!isUnreadable(error)) throw error;
  return { kind: "unreadable", position, reason: describeError(error) };
}

function assertSize(source: Source, { has, wanted }: { has: number; wanted: number }): void {
  if (has === wanted) return;
  throw new VarveError(
    "damage",
    `Cannot compare with "${source.name}": its size is ${has} bytes instead of ${wanted}; check that it is the same snapshot`,
  );
}
