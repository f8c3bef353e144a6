/** Fields that several documents have: what each may hold. docs/format.md, "Documents". */
import { isBackupId } from "./backup_id.ts";
import { fromHex } from "../util/bytes.ts";
import { number, orNull, type Reader, record, text, where, whole } from "./document.ts";
import {
  BLOCK_BYTES,
  MAX_CHUNK_BYTES,
  MAX_HOST_BYTES,
  MAX_NAME_BYTES,
  MAX_SNAPSHOT_NAME_BYTES,
  MAX_TIME_MS,
  MIN_CHUNK_BYTES,
} from "./limits.ts";
import type { SnapshotJson } from "./snapshot_name.ts";
import { isSourceId, MAX_SOURCE_ID_CHARS } from "./source_ids.ts";

/** What a host calls itself. */
export const host = text({ most: MAX_HOST_BYTES });

/** Of a project, a volume, or what else the work of a lease is about. */
export const name = text({ most: MAX_NAME_BYTES });

/** What is only counted up: bytes, chunks. */
export const count = whole({ most: Number.MAX_SAFE_INTEGER });

/** Milliseconds since 1970, by a store's clock: whatever it says, as long as a date can be made of it. */
export const timeMs = number({ least: -MAX_TIME_MS, most: MAX_TIME_MS });

/** A date that there is, in ISO 8601, UTC, to the millisecond. */
export const isoTime = where(isIsoTime, "a time such as 2026-11-21T21:32:59.123Z");

function isIsoTime(value: unknown): value is string {
  if (typeof value !== "string" || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value)) return false;
  const ms = Date.parse(value);
  return !Number.isNaN(ms) && new Date(ms).toISOString() === value;
}

export const backupId = where(
  (value): value is string => typeof value === "string" && isBackupId(value),
  "a backup's id",
);

/** What tells an image, device or snapshot apart from others of its name. */
export const sourceId = where(isSourceId, `one word of at most ${MAX_SOURCE_ID_CHARS} characters`);

/** So many bytes in hex. */
export function hex(bytes: number): Reader<string> {
  return where(
    (value): value is string => typeof value === "string" && fromHex(value, bytes) !== undefined,
    `${bytes} bytes in hex`,
  );
}

export const chunkSize = where(
  (value): value is number =>
    Number.isSafeInteger(value) && (value as number) % BLOCK_BYTES === 0 &&
    (value as number) >= MIN_CHUNK_BYTES && (value as number) <= MAX_CHUNK_BYTES,
  `a multiple of ${BLOCK_BYTES} from ${MIN_CHUNK_BYTES} to ${MAX_CHUNK_BYTES}`,
);

const snapshotText = orNull(text({ most: MAX_SNAPSHOT_NAME_BYTES }));
const snapshotBytes = record<{ base64: string }>({
  base64: where(isNameBytes, `a snapshot's name of at most ${MAX_SNAPSHOT_NAME_BYTES} bytes in Base64`),
});

/** A snapshot's name, as `snapshotToJson` writes it. */
export const snapshot: Reader<SnapshotJson> = (value) =>
  typeof value === "object" && value !== null ? snapshotBytes(value) : snapshotText(value);

function isNameBytes(value: unknown): value is string {
  if (typeof value !== "string") return false;
  const bytes = Buffer.from(value, "base64");
  return bytes.length <= MAX_SNAPSHOT_NAME_BYTES && bytes.toString("base64") === value;
}
