/**
 * A manifest: one restore point. Its front section is the *info*, a JSON object that `list` reads alone; its content is
 * the run of entries that names its pages. docs/format.md, "Manifests".
 */
import { ChunkSizeError, DamageError } from "../errors.ts";
import { backupTimeMs } from "./backup_id.ts";
import {
  decodeDocument,
  encodeDocument,
  list,
  number,
  oneOf,
  optional,
  orNull,
  record,
  text,
  whole,
} from "./document.ts";
import type { EntryList } from "./entries.ts";
import * as field from "./fields.ts";
import {
  MAX_PASSED_OVER,
  MAX_TAG_BYTES,
  MAX_TAGS,
  MAX_VOLUME_BYTES,
  maxVolumeBytes,
  PAGE_CHUNKS,
} from "./limits.ts";
import type { SnapshotJson } from "./snapshot_name.ts";
import type { SourceIds } from "./source_ids.ts";

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
export interface ManifestInfo extends SourceIds {
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
  /**
   * Backups of the volume that were there when this one began, and are dated later: made before it all the same. Left out
   * where there are none.
   */
  passed_over?: string[];
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

const readCounts = record<ChunkCounts>({
  total: field.count,
  changed: field.count,
  zero: field.count,
  new: field.count,
  patched: field.count,
  reused: field.count,
});

const readInfo = record<ManifestInfo>({
  backup: field.backupId,
  project: field.name,
  volume: field.name,
  time: field.isoTime,
  size_bytes: whole({ most: MAX_VOLUME_BYTES }),
  chunk_bytes: field.chunkSize,
  page_chunks: oneOf(PAGE_CHUNKS),
  from_snapshot: field.snapshot,
  to_snapshot: field.snapshot,
  base: orNull(field.backupId),
  source_id: optional(field.sourceId),
  source_snapshot_id: optional(field.sourceId),
  from_snapshot_id: optional(field.sourceId),
  passed_over: optional(list(field.backupId, { most: MAX_PASSED_OVER })),
  tags: list(text({ most: MAX_TAG_BYTES }), { most: MAX_TAGS }),
  host: field.host,
  stream_bytes: field.count,
  chunks: readCounts,
  uploaded_bytes: field.count,
  duration_s: number({ most: Number.MAX_SAFE_INTEGER }),
  lease_ms: optional(field.timeMs),
});

/** Throws `failed` for what `decodeInfo` would refuse; `key` is where it is to be. */
export function encodeInfo(info: ManifestInfo, key: string): Uint8Array {
  return encodeDocument(info, { key, read: readInfo });
}

/** Where a manifest is, and how the repository cuts volumes. */
export interface InfoPlace {
  key: string;
  project: string;
  volume: string;
  backup: string;
  chunkBytes: number;
}

/** The info of the manifest at `key`. Throws `DamageError` where it is none, names another place, or is cut otherwise. */
export function decodeInfo(bytes: Uint8Array, at: InfoPlace): ManifestInfo {
  const info = decodeDocument(bytes, { key: at.key, read: readInfo });
  const { project, volume, backup, time, chunk_bytes, size_bytes } = info;
  const cannot = `Cannot read "${at.key}":`;
  if (project !== at.project || volume !== at.volume || backup !== at.backup) {
    throw new DamageError(at.key, `${cannot} its content does not match its name`);
  }
  if (Date.parse(time) !== backupTimeMs(backup)) {
    throw new DamageError(at.key, `${cannot} its "time" does not match its name`);
  }
  if (chunk_bytes !== at.chunkBytes) {
    const sizes = `its chunk size is ${chunk_bytes} bytes, that of the repository ${at.chunkBytes}`;
    throw new ChunkSizeError(at.key, `${cannot} ${sizes}; restore the original varve.json`, {
      chunkBytes: chunk_bytes,
    });
  }
  if (size_bytes > maxVolumeBytes(chunk_bytes)) {
    throw new DamageError(at.key, `${cannot} its "size_bytes" is too large for that chunk size`);
  }
  return info;
}
