/** What a source hands to the engine: one or more differences of a volume, each a run of extents. */
import type { SnapshotJson } from "../format/snapshot_name.ts";
import type { SourceIds } from "../format/source_ids.ts";

/**
 * A piece of a volume. `read` fills `into` with the extent's next bytes; all `length` bytes must be read (by any
 * number of calls) before the next extent is asked for.
 */
export type Extent =
  | { kind: "zero"; offset: number; length: number }
  | { kind: "data"; offset: number; length: number; read(into: Uint8Array): Promise<void> };

/**
 * What one backup is made of. Everything that no extent covers is as in the backup of `fromSnapshot`, or zero where
 * there is none (`complete` sources cover every byte). Extents come in any order and may overlap: the later wins.
 */
export interface VolumeDiff {
  /** Raw bytes: snapshot names need not be UTF-8. */
  fromSnapshot: Uint8Array | undefined;
  /** Absent: the stream ends at the image's head. */
  toSnapshot: Uint8Array | undefined;
  /** What the snapshots and their image are, beyond their names. */
  ids?: SourceIds | undefined;
  /** `undefined` for a raw pipe, until its extents have all been read. */
  sizeBytes: number | undefined;
  /** Can be called once. */
  extents(): AsyncGenerator<Extent>;
}

/** Reads a volume anywhere, one read at a time. */
export interface VolumeReader {
  /** Fills `into`, which may be shared memory, with the volume's bytes from `offset` on. */
  readAt(into: Uint8Array, offset: number): Promise<void>;
}

/** A point that the volume has already. */
export interface EarlierPoint extends Pick<SourceIds, "source_id" | "source_snapshot_id"> {
  backup: string;
  to_snapshot: SnapshotJson;
}

/** What a source is told of the volume that it is read for. */
export interface VolumeState {
  /** The same for every backup of this volume of this repository, and for no other volume. */
  id: string;
  /** The one that was made last first. */
  points: readonly EarlierPoint[];
}

/**
 * Where a volume's bytes come from. `diffs` returns only when the whole source was valid: for a stream its end
 * record, then end of file, then exit code 0 of the child. Anything else throws, and nothing may be committed.
 */
export interface Source {
  /** For messages: a path, `standard input`, or the command. */
  readonly name: string;
  /** Of a source that chooses itself what to begin at: called once, before `diffs`, while the work is announced. */
  prepare?(volume: VolumeState): Promise<void>;
  diffs(): AsyncGenerator<VolumeDiff>;
  /**
   * Opens the state that the difference handed out last leads to, to be read anywhere. Only of a source that can be read so;
   * closed with it.
   */
  openReader?(): Promise<VolumeReader>;
  /**
   * All that it gave is committed. `isAlone`: no other backup of the volume is running, so nobody needs what older points
   * began at. Never throws.
   */
  committed?(state: { isAlone: boolean }): Promise<void>;
  /** Of a source that is all bytes of one snapshot: which one. */
  readonly ids?: SourceIds | undefined;
  /** The path, where the source is the bytes of a regular file. */
  readonly file?: string | undefined;
  /** Bytes read so far. */
  readonly bytesRead: number;
  /** Ends the child, closes the file. Safe to call at any time and twice. */
  close(): Promise<void>;
}
