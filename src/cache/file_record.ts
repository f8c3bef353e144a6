/**
 * What a regular file looked like when it was known to equal a backup: size, times and inode. As long as it still looks
 * so, nobody wrote to it, and a restore need not read it. That holds where times tell every write (`os/file_times.ts`);
 * elsewhere nothing is noted, and the file is read.
 */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { equalBytes, fromHex, fromUtf8, toHex, utf8 } from "../util/bytes.ts";
import { decodeDocument, record, text } from "../format/document.ts";
import * as field from "../format/fields.ts";
import { settleTimes } from "../os/file_times.ts";
import { type CachePlace, fileRecordsFolder } from "./cache_folder.ts";
import { type OwnPath, within } from "../os/own_path.ts";
import { macOf } from "./mac.ts";
import { readOwn, replaceOwn } from "../os/own_files.ts";

/**
 * File times come from a clock that ticks every 10 ms at worst, and two changes within a tick look the same. So a look is
 * taken only once that clock is past the file's last change: any later write then shows. (What is not so, Git
 * calls racy.) Some file systems keep whole hundredths, seconds, or pairs of them.
 */
const CLOCK_TICK_MS = 20;
const COARSE_TICK_MS = 2020;
const COARSE_TIME_NS = 10_000_000n;

/** Everything that a write changes, as decimal strings; nanoseconds. */
export interface FileLook {
  dev: string;
  ino: string;
  size: string;
  mtime: string;
  ctime: string;
}

/** The backup that a file equals. */
export interface FileContent {
  repository: string;
  project: string;
  volume: string;
  backup: string;
}

interface FileRecord {
  look: FileLook;
  content: FileContent;
}

const MAC_BYTES = 32;

/** A decimal number, as `FileLook` has them. */
const digits = text({ most: 32 });
const readRecord = record<FileRecord>({
  look: record<FileLook>({ dev: digits, ino: digits, size: digits, mtime: digits, ctime: digits }),
  content: record<FileContent>({
    repository: field.name,
    project: field.name,
    volume: field.name,
    backup: field.backupId,
  }),
});

/**
 * A look that every later write will change, also one through a mapping that somebody holds. `undefined` where the path is
 * not a regular file, or is being written to, or on a file system whose times do not tell.
 */
export async function lookOf(path: string): Promise<FileLook | undefined> {
  const first = await readLook(path);
  if (first === undefined) return undefined;
  await wait(tickMs(first));
  if (!await settleTimes(path)) return undefined;
  return sameLook(await readLook(path), first) ? first : undefined;
}

/** How long the clock of the file's file system may stand still. */
export function tickMs({ ctime }: Pick<FileLook, "ctime">): number {
  return BigInt(ctime) % COARSE_TIME_NS === 0n ? COARSE_TICK_MS : CLOCK_TICK_MS;
}

async function readLook(path: string): Promise<FileLook | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  if (stats === undefined || !stats.isFile()) return undefined;
  const { dev, ino, size, mtimeNs, ctimeNs } = stats;
  return { dev: `${dev}`, ino: `${ino}`, size: `${size}`, mtime: `${mtimeNs}`, ctime: `${ctimeNs}` };
}

function sameLook(a: FileLook | undefined, b: FileLook | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtime === b.mtime &&
    a.ctime === b.ctime;
}

/**
 * Notes that the file equals a backup, if it still looks as it did when that was known (`known`). Nothing is noted
 * where it does not, or where the cache cannot be written.
 */
export async function recordFile(
  place: CachePlace,
  path: string,
  note: { known: FileLook; content: FileContent },
) {
  if (!sameLook(await readLook(path), note.known)) return;
  const record = encodeRecord({ look: note.known, content: note.content }, place.key);
  await replaceOwn(recordPath(place, note.known), (file) => file.write(record, 0)).catch(() => {});
}

/** The backup of the place's project that the file is known to equal. */
export async function recordedContent(place: CachePlace, path: string): Promise<FileContent | undefined> {
  const look = await readLook(path);
  if (look === undefined) return undefined;
  const bytes = await readOwn(recordPath(place, look)).catch(() => undefined);
  const record = bytes === undefined ? undefined : decodeRecord(bytes, place.key);
  return record !== undefined && sameLook(record.look, look) ? record.content : undefined;
}

/** Whose record it is, as it says itself: nothing that proves it is looked at. */
export function claimedContent(bytes: Uint8Array): FileContent | undefined {
  try {
    const [line = ""] = (fromUtf8(bytes) ?? "").split("\n");
    return parseRecord(line).content;
  } catch {
    return undefined;
  }
}

/** A line of JSON, and on a second one its MAC in hex. */
function encodeRecord(record: FileRecord, key: Uint8Array): Uint8Array {
  const line = JSON.stringify(record);
  return utf8(`${line}\n${toHex(recordMac(line, key))}\n`);
}

/** `undefined` for what was not written with the key, or is no record. */
function decodeRecord(bytes: Uint8Array, key: Uint8Array): FileRecord | undefined {
  const [line = "", hex = ""] = (fromUtf8(bytes) ?? "").split("\n");
  const mac = fromHex(hex, MAC_BYTES);
  if (mac === undefined || !equalBytes(mac, recordMac(line, key))) return undefined;
  try {
    return parseRecord(line);
  } catch {
    return undefined;
  }
}

/** Throws where the line is no record. */
function parseRecord(line: string): FileRecord {
  return decodeDocument(utf8(line), { key: "file record", read: readRecord });
}

function recordMac(line: string, key: Uint8Array): Uint8Array {
  return macOf(key, "file record", utf8(line));
}

/** By inode: a file keeps its record when it is renamed, and names tell nothing of what it holds. */
function recordPath({ root }: CachePlace, { dev, ino }: FileLook): OwnPath {
  const name = createHash("sha256").update(`${dev}:${ino}`).digest("hex").slice(0, 32);
  return within(fileRecordsFolder(root), name);
}
