/** What a verify says of each restore point: whole or not, and where in bytes. */
import { chunkLength } from "../../format/limits.ts";
import type { ManifestInfo } from "../../format/manifest.ts";

/** Ranges that are told of one point; more are only counted. */
const MAX_RANGES = 1000;

/** Bytes of a volume. */
export interface ByteRange {
  offset: number;
  length: number;
}

/**
 * `whole`: all of it was read back. `there`: all of it is there, and not all was read back. `damaged`: the ranges cannot be
 * restored. `unreadable`: its manifest cannot be read, so nothing of it can.
 */
export type PointState = "whole" | "there" | "damaged" | "unreadable";

/** Of an unreadable point only its name is known: what a number would be is `null`. */
export interface PointReport {
  volume: string;
  backup: string;
  /** When the backup began: ISO 8601, UTC. */
  time: string | null;
  state: PointState;
  size_bytes: number | null;
  /** Positions of the volume. */
  chunks: number | null;
  damaged_chunks: number | null;
  damaged_bytes: number | null;
  /** Merged, ascending; the first 1,000. */
  ranges: ByteRange[];
}

/** A point whose references were looked at. */
export type SeenPoint = Pick<PointReport, "volume" | "backup"> & {
  time: string;
  sizeBytes: number;
  chunkBytes: number;
  chunks: number;
};

export function seenPoint({ volume, backup, time, size_bytes, chunk_bytes }: ManifestInfo): SeenPoint {
  const chunks = Math.ceil(size_bytes / chunk_bytes);
  return { volume, backup, time, sizeBytes: size_bytes, chunkBytes: chunk_bytes, chunks };
}

/** The damaged positions of one point; they come in ascending order. */
export class PointDamage {
  readonly point: SeenPoint;
  readonly ranges: ByteRange[] = [];
  chunks = 0;
  bytes = 0;
  /** One past the last damaged position. */
  #end = -1;

  constructor(info: ManifestInfo) {
    this.point = seenPoint(info);
  }

  add(position: number, count: number): void {
    const { chunkBytes } = this.point;
    const offset = position * chunkBytes;
    const last = position + count - 1;
    const length = last * chunkBytes + chunkLength(last, this.point) - offset;
    this.chunks += count;
    this.bytes += length;
    const isNext = position === this.#end;
    this.#end = position + count;
    if (isNext && this.ranges.length > 0 && this.#isLastTold(offset)) this.ranges.at(-1)!.length += length;
    else if (this.ranges.length < MAX_RANGES) this.ranges.push({ offset, length });
  }

  #isLastTold(offset: number): boolean {
    const { offset: from, length } = this.ranges.at(-1)!;
    return from + length === offset;
  }
}

/** `state` is what it is without damage. */
export function pointOf(
  { volume, backup, time, sizeBytes, chunks }: SeenPoint,
  state: PointState,
  damage?: PointDamage,
): PointReport {
  const isDamaged = damage !== undefined && damage.chunks > 0;
  return {
    volume,
    backup,
    time,
    state: isDamaged ? "damaged" : state,
    size_bytes: sizeBytes,
    chunks,
    damaged_chunks: damage?.chunks ?? 0,
    damaged_bytes: damage?.bytes ?? 0,
    ranges: damage?.ranges ?? [],
  };
}
