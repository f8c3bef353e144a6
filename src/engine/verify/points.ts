/** What a verify says of each restore point: whole or not, and where in bytes. */
import { chunkLength } from "../../format/limits.ts";
import type { ManifestInfo } from "../../format/manifest.ts";
import { type ByteRange, ByteRanges } from "../../util/byte_ranges.ts";

/**
 * `whole`: all of it was read back. `there`: all of it is there, and not all was read back. `damaged`: the ranges cannot be
 * restored. `unreadable`: its manifest cannot be read, so nothing of it can.
 */
type PointState = "whole" | "there" | "damaged" | "unreadable";

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
  readonly ranges = new ByteRanges();
  chunks = 0;

  constructor(info: ManifestInfo) {
    this.point = seenPoint(info);
  }

  add(position: number, count: number): void {
    const { chunkBytes } = this.point;
    const offset = position * chunkBytes;
    const last = position + count - 1;
    this.chunks += count;
    this.ranges.add(offset, last * chunkBytes + chunkLength(last, this.point) - offset);
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
    damaged_bytes: damage?.ranges.bytes ?? 0,
    ranges: damage?.ranges.told ?? [],
  };
}
