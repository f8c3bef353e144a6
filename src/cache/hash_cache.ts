/**
 * The hash cache: for one volume, position → id of the newest backup made or restored on this host, so that the next
 * backup or restore reads no pages from the store. A page out of it is used only if it has the id that the manifest
 * names, so a cache that lies can cost time and nothing else.
 *
 * ```
 * offset size
 * 0      32   SHA-256 of what follows up to offset 4096, and of the suffixes
 * 32     4    length of the head
 * 36     …    head, JSON: repository, project, volume, backup, pages, suffixes
 * 4096   …    pages × 1,024 ids of 32 bytes, position after position; zeros: a chunk of zeros
 *        …    suffixes × (position u64, lease id 16)
 * ```
 */
import { type FileHandle, open } from "node:fs/promises";
import { equalBytes, fromUtf8, utf8 } from "../format/bytes.ts";
import { EntryList } from "../format/entries.ts";
import { ID_BYTES, LEASE_ID_BYTES, PAGE_CHUNKS } from "../format/limits.ts";
import { replaceFile } from "./cache_folder.ts";

const HEAD_BYTES = 4096;
const SUM_BYTES = 32;
const PAGE_BYTES = PAGE_CHUNKS * ID_BYTES;
const SUFFIX_BYTES = 8 + LEASE_ID_BYTES;

export interface HashCacheHead {
  repository: string;
  project: string;
  volume: string;
  backup: string;
  pages: number;
}

export class HashCache {
  readonly head: HashCacheHead;
  readonly #file: FileHandle;
  /** Lease ids by position: keys with a suffix are rare. */
  readonly #suffixes: ReadonlyMap<number, Uint8Array>;

  private constructor(file: FileHandle, head: HashCacheHead, suffixes: ReadonlyMap<number, Uint8Array>) {
    this.#file = file;
    this.head = head;
    this.#suffixes = suffixes;
  }

  /** `undefined` where there is no file; `damaged` where it cannot be used. */
  static async open(path: string): Promise<HashCache | "damaged" | undefined> {
    const file = await open(path, "r").catch(() => undefined);
    if (file === undefined) return undefined;
    try {
      const cache = await HashCache.#read(file);
      if (cache !== undefined) return cache;
    } catch {
      // As good as damaged.
    }
    await file.close();
    return "damaged";
  }

  static async #read(file: FileHandle): Promise<HashCache | undefined> {
    const top = await readAt(file, 0, HEAD_BYTES);
    const view = new DataView(top.buffer);
    const json = fromUtf8(
      top.subarray(SUM_BYTES + 4, SUM_BYTES + 4 + Math.min(view.getUint32(SUM_BYTES, true), HEAD_BYTES)),
    );
    const head = JSON.parse(json ?? "null") as HashCacheHead & { suffixes: number };
    const table = await readAt(file, HEAD_BYTES + head.pages * PAGE_BYTES, head.suffixes * SUFFIX_BYTES);
    if (!equalBytes(checkSum(top.subarray(SUM_BYTES), table), top.subarray(0, SUM_BYTES))) return undefined;
    return new HashCache(file, head, decodeSuffixes(table));
  }

  /** The entries of a page as the cache has them, `undefined` past its end. They may be wrong: check the page's id. */
  async page(index: number): Promise<EntryList | undefined> {
    if (index >= this.head.pages) return undefined;
    const ids = await readAt(this.#file, HEAD_BYTES + index * PAGE_BYTES, PAGE_BYTES);
    const entries = new EntryList(PAGE_CHUNKS);
    for (let i = 0; i < PAGE_CHUNKS; i++) {
      const id = ids.subarray(i * ID_BYTES, (i + 1) * ID_BYTES);
      if (id.some((byte) => byte !== 0)) {
        entries.set(i, { id, lease: this.#suffixes.get(index * PAGE_CHUNKS + i) });
      }
    }
    return entries;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** Writes a cache anew, from all pages of a backup in order; `undefined` stands for a page of zeros. */
export async function writeHashCache(
  path: string,
  head: HashCacheHead,
  pages: AsyncIterable<EntryList | undefined>,
): Promise<void> {
  await replaceFile(path, async (temporary) => {
    await using file = await open(temporary, "wx", 0o600);
    const suffixes: Uint8Array[] = [];
    let index = 0;
    for await (const entries of pages) {
      if (entries !== undefined) {
        await file.write(encodeIds(entries, index, suffixes), 0, PAGE_BYTES, HEAD_BYTES + index * PAGE_BYTES);
      }
      index++;
    }
    const table = Buffer.concat(suffixes);
    await file.truncate(HEAD_BYTES + head.pages * PAGE_BYTES + table.length);
    if (table.length > 0) await file.write(table, 0, table.length, HEAD_BYTES + head.pages * PAGE_BYTES);
    await file.write(encodeTop({ ...head, suffixes: suffixes.length }, table), 0, HEAD_BYTES, 0);
  });
}

function encodeIds(entries: EntryList, page: number, suffixes: Uint8Array[]): Uint8Array {
  const ids = new Uint8Array(PAGE_BYTES);
  for (let i = 0; i < PAGE_CHUNKS; i++) {
    const entry = entries.get(i);
    if (entry === undefined) continue;
    ids.set(entry.id, i * ID_BYTES);
    if (entry.lease !== undefined) suffixes.push(encodeSuffix(page * PAGE_CHUNKS + i, entry.lease));
  }
  return ids;
}

function encodeTop(head: HashCacheHead & { suffixes: number }, table: Uint8Array): Uint8Array {
  const top = new Uint8Array(HEAD_BYTES);
  const json = utf8(JSON.stringify(head));
  new DataView(top.buffer).setUint32(SUM_BYTES, json.length, true);
  top.set(json, SUM_BYTES + 4);
  top.set(checkSum(top.subarray(SUM_BYTES), table));
  return top;
}

function encodeSuffix(position: number, lease: Uint8Array): Uint8Array {
  const record = new Uint8Array(SUFFIX_BYTES);
  new DataView(record.buffer).setBigUint64(0, BigInt(position), true);
  record.set(lease, 8);
  return record;
}

function decodeSuffixes(table: Uint8Array): Map<number, Uint8Array> {
  const suffixes = new Map<number, Uint8Array>();
  const view = new DataView(table.buffer, table.byteOffset);
  for (let at = 0; at < table.length; at += SUFFIX_BYTES) {
    suffixes.set(Number(view.getBigUint64(at, true)), table.slice(at + 8, at + SUFFIX_BYTES));
  }
  return suffixes;
}

function checkSum(head: Uint8Array, table: Uint8Array): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(head as Uint8Array<ArrayBuffer>)
    .update(table as Uint8Array<ArrayBuffer>).digest();
}

/** Exactly `length` bytes. Throws where the file is shorter. */
async function readAt(file: FileHandle, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) throw new RangeError("the cache is cut short");
    done += bytesRead;
  }
  return bytes;
}
