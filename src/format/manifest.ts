/**
 * A manifest: one restore point. Its front section is the *info*, a JSON object that `list` reads alone; its content is
 * the run of entries that names its pages. docs/format.md, "Manifests".
 */
import { DamageError } from "../errors.ts";
import { fromUtf8, utf8 } from "./bytes.ts";
import type { EntryList } from "./entries.ts";
import { isBackupId } from "./backup_id.ts";
import { BLOCK_BYTES, MAX_CHUNK_BYTES, MAX_VOLUME_BYTES, MIN_CHUNK_BYTES, PAGE_CHUNKS } from "./limits.ts";
import { type SnapshotJson } from "./snapshot_name.ts";
import { isSourceId, type SourceIds } from "./source_ids.ts";

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

export function encodeInfo(info: ManifestInfo): Uint8Array {
  return utf8(JSON.stringify(info));
}

/** The info of the manifest at `key`. Throws `DamageError` where it is not one or names another place. */
export function decodeInfo(
  bytes: Uint8Array,
  at: { key: string; volume: string; backup: string },
): ManifestInfo {
  const info = parse(bytes);
  if (info?.volume === at.volume && info.backup === at.backup && isInfo(info)) return info as ManifestInfo;
  throw new DamageError(
    at.key,
    `Cannot read "${at.key}": it does not hold the manifest that its name says`,
  );
}

/** JSON may also be `null`. */
function parse(bytes: Uint8Array): Partial<ManifestInfo> | null | undefined {
  try {
    return JSON.parse(fromUtf8(bytes) ?? "") as Partial<ManifestInfo> | null;
  } catch {
    return undefined;
  }
}

/** Whoever has the key can seal anything: what is computed with or printed has the type that it should have. */
function isInfo(info: Partial<ManifestInfo>): boolean {
  const { size_bytes, chunk_bytes, page_chunks, tags, passed_over = [], base, chunks } = info;
  const texts = [info.project, info.time, info.host];
  const numbers = [info.stream_bytes, info.uploaded_bytes, info.duration_s];
  const ids = [info.source_id, info.source_snapshot_id, info.from_snapshot_id];
  return texts.every((text) => typeof text === "string") &&
    numbers.every((number) => typeof number === "number") &&
    ids.every((id) => id === undefined || isSourceId(id)) &&
    isWhole(size_bytes, { most: MAX_VOLUME_BYTES }) &&
    isWhole(chunk_bytes, { least: MIN_CHUNK_BYTES, most: MAX_CHUNK_BYTES }) &&
    chunk_bytes! % BLOCK_BYTES === 0 &&
    page_chunks === PAGE_CHUNKS && (base === null || typeof base === "string") &&
    isSnapshot(info.from_snapshot) && isSnapshot(info.to_snapshot) &&
    Array.isArray(tags) && tags.every((tag) => typeof tag === "string") &&
    Array.isArray(passed_over) && passed_over.every((id) => typeof id === "string" && isBackupId(id)) &&
    typeof chunks === "object" && chunks !== null;
}

function isWhole(value: unknown, { least = 0, most }: { least?: number; most: number }): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

function isSnapshot(name: SnapshotJson | undefined): boolean {
  return name === null || typeof name === "string" || typeof name?.base64 === "string";
}
