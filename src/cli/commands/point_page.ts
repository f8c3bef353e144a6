/** The page of `varve show`: all that is known of one restore point, for people. */
import type { BackupDetails } from "../../project/catalog.ts";
import type { ChunkCounts } from "../../format/manifest.ts";
import { snapshotText } from "../../format/snapshot_name.ts";
import { escapeLine } from "../../errors.ts";
import { counted } from "../../util/counted.ts";
import { formatTime } from "../../util/time.ts";
import { formatAge, formatDuration, formatSize } from "../terminal/units.ts";

const ENCRYPTION = {
  "none": "none: anyone with read access to the store can read it",
  "passphrase": "with a passphrase",
  "key-file": "with a key file",
};

/** Its lines; `nowMs` is what the age counts to. */
export function pageLines(details: BackupDetails, nowMs: number): string[] {
  const { project, volume, backup, passed_over = [] } = details;
  const facts: [string, string][] = [
    ["Volume", `${project}/${volume}`],
    ["Id", backup],
    ["Time", time(details, nowMs)],
    ["Kind", kind(details)],
    ["Snapshot", snapshot(details)],
    ["Size", size(details)],
    ["Changes", changes(details.chunks)],
    ["Transfer", transfer(details)],
    ["Host", details.host],
    ["Tags", details.tags.join(", ") || "none"],
    ["Held", held(details)],
    ["Encryption", ENCRYPTION[details.encryption]],
    ...sources(details),
    ...passed_over.length === 0 ? [] : [["Made after", passed_over.join(", ")] as [string, string]],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, text]) => `${name.padEnd(width)}  ${escapeLine(text)}`);
}

function time({ time }: BackupDetails, nowMs: number): string {
  const age = formatAge((nowMs - Date.parse(time)) / 1000);
  return `${formatTime(Date.parse(time), "second")} (${age === "future" ? "in the future" : `${age} ago`})`;
}

function kind({ base }: BackupDetails): string {
  return base === null ? "full" : `increment of ${base}; restores on its own`;
}

function snapshot({ raw: { from_snapshot: from, to_snapshot: to } }: BackupDetails): string {
  const since = from === null ? "" : ` (changes since ${snapshotText(from)})`;
  return to === null ? `none${since}` : `${snapshotText(to)}${since}`;
}

function size({ size_bytes, chunk_bytes, chunks }: BackupDetails): string {
  const bytes = size_bytes.toLocaleString("en-US");
  return `${formatSize(size_bytes)} (${bytes} bytes), ${counted(chunks.total, "chunk")} of ${
    formatSize(chunk_bytes)
  }`;
}

function changes(chunks: ChunkCounts): string {
  return `${chunks.changed} of ${counted(chunks.total, "chunk")} read: ${chunkCounts(chunks)}`;
}

/** `2 new, 1 patched, 7 reused, 0 zero`: each chunk that was read is counted once. */
export function chunkCounts({ new: stored, patched, reused, zero }: ChunkCounts): string {
  return `${stored} new, ${patched} patched, ${reused} reused, ${zero} zero`;
}

function transfer({ stream_bytes, uploaded_bytes, duration_s }: BackupDetails): string {
  const took = formatDuration(duration_s);
  return `read ${formatSize(stream_bytes)}, uploaded ${formatSize(uploaded_bytes)} in ${took}`;
}

function held({ held, hold_reason }: BackupDetails): string {
  return held ? `yes${hold_reason === null ? "" : `: ${hold_reason}`}` : "no";
}

function sources({ source_id, source_snapshot_id, from_snapshot_id }: BackupDetails): [string, string][] {
  if (source_id === null && source_snapshot_id === null && from_snapshot_id === null) return [];
  const snapshots = source_snapshot_id === null ? [] : [`snapshot ${source_snapshot_id}`];
  const since = from_snapshot_id === null ? [] : [`changes since ${from_snapshot_id}`];
  return [["Source", [source_id ?? "not known", ...snapshots, ...since].join(", ")]];
}
