/**
 * What a regular file looked like when it was known to equal a backup: size, times and inode. As long as it still looks
 * so, nobody wrote to it, and a restore need not read it. That holds where times tell every write (`os/file_times.ts`);
 * elsewhere nothing is noted, and the file is read.
 */
import { createHash } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { decodeCheckedJson, encodeCheckedJson } from "../format/checked_json.ts";
import { record, text } from "../format/document.ts";
import * as field from "../format/fields.ts";
import { settleTimes } from "../os/file_times.ts";
import { replaceFile } from "./cache_folder.ts";

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

/** What the file at `path` notes. Throws where it notes nothing. */
export function decodeRecord(bytes: Uint8Array, path: string): FileRecord {
  return readRecord(decodeCheckedJson(bytes, path));
}

/**
 * A look that every later write will change, also one through a mapping that somebody holds. `undefined` where the path is
 * not a regular file, or is being written to, or on a file system whose times do not tell.
 */
export async function lookOf(path: string): Promise<FileLook | undefined> {
  const first = await glanceAt(path);
  if (first === undefined) return undefined;
  await wait(tickMs(first));
  if (!await settleTimes(path)) return undefined;
  return sameLook(await glanceAt(path), first) ? first : undefined;
}

/** How long the clock of the file's file system may stand still. */
export function tickMs({ ctime }: Pick<FileLook, "ctime">): number {
  return BigInt(ctime) % COARSE_TIME_NS === 0n ? COARSE_TICK_MS : CLOCK_TICK_MS;
}

async function glanceAt(path: string): Promise<FileLook | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  if (stats === undefined || !stats.isFile()) return undefined;
  const { dev, ino, size, mtimeNs, ctimeNs } = stats;
  return { dev: `${dev}`, ino: `${ino}`, size: `${size}`, mtime: `${mtimeNs}`, ctime: `${ctimeNs}` };
}

export function sameLook(a: FileLook | undefined, b: FileLook | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtime === b.mtime &&
    a.ctime === b.ctime;
}

/**
 * Notes that the file equals a backup, if it still looks as it did when that was known (`known`). Nothing is noted
 * where it does not, or where the cache cannot be written.
 */
export async function recordFile(
  folder: string,
  path: string,
  note: { known: FileLook; content: FileContent },
) {
  if (!sameLook(await glanceAt(path), note.known)) return;
  const bytes = encodeCheckedJson({ look: note.known, content: note.content });
  await replaceFile(
    recordPath(folder, note.known),
    (temporary) => writeFile(temporary, bytes, { mode: 0o600 }),
  ).catch(() => {});
}

/** The backup that the file is known to equal. */
export async function recordedContent(folder: string, path: string): Promise<FileContent | undefined> {
  const look = await glanceAt(path);
  if (look === undefined) return undefined;
  try {
    const path = recordPath(folder, look);
    const known = decodeRecord(await readFile(path), path);
    return sameLook(known.look, look) ? known.content : undefined;
  } catch {
    return undefined;
  }
}

/** By inode: a file keeps its record when it is renamed, and names tell nothing of what it holds. */
function recordPath(folder: string, { dev, ino }: FileLook): string {
  return join(folder, createHash("sha256").update(`${dev}:${ino}`).digest("hex").slice(0, 32));
}
