/**
 * A manifest: one restore point. Its front section is the *info*, a JSON object that `list` reads alone; its content is
 * the run of entries that names its pages. docs/format.md, "Manifests".
 */
import { DamageError } from "../errors.ts";
import { fromUtf8, utf8 } from "./bytes.ts";
import type { EntryList } from "./entries.ts";
import { type SnapshotJson } from "./snapshot_name.ts";

export interface ChunkCounts {
  /** Positions of the volume. */
  total: number;
  /** Positions that the source named. */
  changed: number;
  /** Of the changed: all zeros. */
  zero: number;
  /** Of the changed: stored whole by this backup. */
  new: number;
  /** Of the changed: stored by this backup as block patches. */
  patched: number;
  /** Of the changed: the project held them already. */
  reused: number;
}

/** The info of a manifest, as it is stored. Times are ISO 8601 in UTC, sizes bytes. */
export interface ManifestInfo {
  backup: string;
  project: string;
  volume: string;
  /** When the backup began, by the store's clock. */
  time: string;
  size_bytes: number;
  chunk_bytes: number;
  page_chunks: number;
  from_snapshot: SnapshotJson;
  to_snapshot: SnapshotJson;
  /** The backup that the source was a difference to. */
  base: string | null;
  tags: string[];
  host: string;
  stream_bytes: number;
  chunks: ChunkCounts;
  uploaded_bytes: number;
  duration_s: number;
  /**
   * When the lease was written under which the manifest came into this repository, milliseconds since 1970 by the
   * store's clock: set as it is written.
   */
  lease_ms?: number | undefined;
}

export interface Manifest {
  info: ManifestInfo;
  pages: EntryList;
}

export function encodeInfo(info: ManifestInfo): Uint8Array {
  return utf8(JSON.stringify(info));
}

/** The info of the manifest at `key`. Throws `DamageError` where it is not one or names another place. */
export function decodeInfo(
  bytes: Uint8Array,
  at: { key: string; volume: string; backup: string },
): ManifestInfo {
  const info = parse(bytes);
  if (info?.volume !== at.volume || info.backup !== at.backup) {
    throw new DamageError(
      at.key,
      `Cannot read "${at.key}": it does not hold the manifest that its name says`,
    );
  }
  return info;
}

/** JSON may also be `null`. */
function parse(bytes: Uint8Array): ManifestInfo | null | undefined {
  try {
    return JSON.parse(fromUtf8(bytes) ?? "") as ManifestInfo | null;
  } catch {
    return undefined;
  }
}
