/**
 * The hash cache: for one volume, position → id of the newest backup made or restored on this host, so that the next
 * backup or restore reads no pages from the store. A page out of it is used only if it has the id that the manifest
 * names, so a cache that lies can cost time and nothing else.
 *
 * ```
 * offset size
 * 0      32   SHA-256 of what follows up to offset 4096, and of the index
 * 32     4    length of the head
 * 36     …    head, JSON: repository, project, volume, backup, pages, size of the file
 * 4096   …    pages × (offset u64, length u32); length 0: a page of zeros
 *        …    the pages, encoded as in the store: 33 bytes a chunk, more for a patch
 * ```
 */
import { equalBytes, utf8 } from "../util/bytes.ts";
import { decodeDocument, record, whole } from "../format/document.ts";
import * as field from "../format/fields.ts";
import { MAX_PAGES } from "../format/limits.ts";
import { maxParts, OBJECT_TYPE } from "../format/object.ts";
import { openOwn, type OwnFile, replaceOwn } from "../os/own_files.ts";
import type { OwnPath } from "../os/own_path.ts";

const HEAD_BYTES = 4096;
const SUM_BYTES = 32;
const INDEX_BYTES = 12;

export interface PageCacheHead {
  repository: string;
  project: string;
  volume: string;
  backup: string;
  pages: number;
}

const readHead = record<PageCacheHead & { size: number }>({
  repository: field.name,
  project: field.name,
  volume: field.name,
  backup: field.backupId,
  pages: whole({ most: MAX_PAGES }),
  size: field.count,
});

const { content: MAX_PAGE_BYTES } = maxParts(OBJECT_TYPE.page);

export class PageCacheFile {
  readonly head: PageCacheHead;
  readonly #file: OwnFile;
  readonly #index: DataView;

  private constructor(file: OwnFile, head: PageCacheHead, index: Uint8Array) {
    this.#file = file;
    this.head = head;
    this.#index = new DataView(index.buffer, index.byteOffset, index.byteLength);
  }

  /** `undefined` where there is no file; `damaged` where it cannot be used. */
  static async open(place: OwnPath): Promise<PageCacheFile | "damaged" | undefined> {
    const file = await openOwn(place).catch(() => undefined);
    if (file === undefined) return undefined;
    try {
      const cache = await PageCacheFile.#read(file, place.path);
      if (cache !== undefined) return cache;
    } catch {
      // As good as damaged.
    }
    await file.close();
    return "damaged";
  }

  static async #read(file: OwnFile, path: string): Promise<PageCacheFile | undefined> {
    const top = await readAt(file, 0, HEAD_BYTES);
    const view = new DataView(top.buffer);
    const json = top.subarray(SUM_BYTES + 4).subarray(0, view.getUint32(SUM_BYTES, true));
    const head = decodeDocument(json, { key: path, read: readHead });
    if (head.size !== await file.sizeBytes() || HEAD_BYTES + head.pages * INDEX_BYTES > head.size) {
      return undefined;
    }
    const index = await readAt(file, HEAD_BYTES, head.pages * INDEX_BYTES);
    if (!equalBytes(checksum(top.subarray(SUM_BYTES), index), top.subarray(0, SUM_BYTES))) return undefined;
    return new PageCacheFile(file, head, index);
  }

  /** A page as it was encoded, `undefined` for zeros and past the end. It may be wrong: check the page's id. */
  async page(page: number): Promise<Uint8Array | undefined> {
    if (page >= this.head.pages) return undefined;
    const length = this.#index.getUint32(page * INDEX_BYTES + 8, true);
    if (length === 0) return undefined;
    if (length > MAX_PAGE_BYTES) throw new RangeError("the cache has an invalid page");
    return await readAt(this.#file, Number(this.#index.getBigUint64(page * INDEX_BYTES, true)), length);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** Writes a cache anew, from all encoded pages of a backup in order; `undefined` stands for a page of zeros. */
export async function writePageCache(
  place: OwnPath,
  head: PageCacheHead,
  pages: AsyncIterable<Uint8Array | undefined>,
): Promise<void> {
  await replaceOwn(place, async (file) => {
    const index = new DataView(new ArrayBuffer(head.pages * INDEX_BYTES));
    let end = HEAD_BYTES + index.byteLength;
    let page = 0;
    for await (const bytes of pages) {
      index.setBigUint64(page * INDEX_BYTES, BigInt(end), true);
      index.setUint32(page * INDEX_BYTES + 8, bytes?.length ?? 0, true);
      if (bytes !== undefined) await file.write(bytes, end);
      end += bytes?.length ?? 0;
      page++;
    }
    const indexBytes = new Uint8Array(index.buffer);
    await file.write(indexBytes, HEAD_BYTES);
    await file.write(encodeTop({ ...head, size: end }, indexBytes), 0);
  });
}

function encodeTop(head: PageCacheHead & { size: number }, index: Uint8Array): Uint8Array {
  const top = new Uint8Array(HEAD_BYTES);
  const json = utf8(JSON.stringify(head));
  new DataView(top.buffer).setUint32(SUM_BYTES, json.length, true);
  top.set(json, SUM_BYTES + 4);
  top.set(checksum(top.subarray(SUM_BYTES), index));
  return top;
}

function checksum(head: Uint8Array, index: Uint8Array): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(head as Uint8Array<ArrayBuffer>)
    .update(index as Uint8Array<ArrayBuffer>).digest();
}

/** Exactly `length` bytes. Throws where the file is shorter. */
async function readAt(file: OwnFile, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  if (await file.read(bytes, offset) < length) throw new RangeError("the cache is truncated");
  return bytes;
}
