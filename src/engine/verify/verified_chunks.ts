/**
 * When this host read back which chunk and found it whole, so that `--max-age` can pass over what was verified lately. A
 * file of records of id (32) and day since 1970 (u32), behind the MAC of all of them under a key of the project's: one that was
 * changed is not used.
 */
import { type CachePlace, verifiedPath } from "../../cache/cache_folder.ts";
import { macOf } from "../../cache/mac.ts";
import { readOwn, replaceOwn } from "../../os/own_files.ts";
import { equalBytes } from "../../util/bytes.ts";
import { ID_BYTES } from "../../format/limits.ts";
import { cachePlace } from "../../project/cache_place.ts";
import type { Context } from "../../context.ts";
import { IdSet } from "../../volume/id_set.ts";
import type { Project } from "../../project/project.ts";

const DAY_MS = 24 * 3600_000;
const MAC_BYTES = 32;
const RECORD_BYTES = ID_BYTES + 4;
/** Chunks remembered; of the others just these are read again. */
const MAX_CHUNKS = 4_000_000;

export class VerifiedChunks {
  readonly #place: CachePlace | undefined;
  readonly #today: number;
  readonly #days = new IdSet();

  private constructor(place: CachePlace | undefined, today: number) {
    this.#place = place;
    this.#today = today;
  }

  /** Never fails: what cannot be read was never verified. */
  static async open(project: Project, context: Context): Promise<VerifiedChunks> {
    const place = cachePlace(project, context);
    const verified = new VerifiedChunks(place, Math.floor(context.clock.now() / DAY_MS));
    if (place === undefined) return verified;
    const bytes = await readOwn(verifiedPath(place)).catch(() => undefined);
    verified.#load(bytes ?? new Uint8Array(), place);
    return verified;
  }

  /** Whether the chunk was found whole at most `days` days ago. A day in the future counts for nothing. */
  isFresh(id: Uint8Array, days: number): boolean {
    const day = this.#days.markOf(id);
    return day !== 0 && day <= this.#today && this.#today - day <= days;
  }

  add(id: Uint8Array): void {
    if (this.#days.size < MAX_CHUNKS) this.#days.add(id);
    this.#days.mark(id, this.#today);
  }

  /** It was found damaged: what was remembered of it is no longer true. */
  forget(id: Uint8Array): void {
    this.#days.mark(id, 0);
  }

  /** A cache that cannot be written is no reason to fail. */
  async save(): Promise<void> {
    if (this.#place === undefined) return;
    let known = 0;
    for (const _ of this.#days.ids(true)) known++;
    const bytes = new Uint8Array(MAC_BYTES + known * RECORD_BYTES);
    const view = new DataView(bytes.buffer);
    let at = MAC_BYTES;
    for (const id of this.#days.ids(true)) {
      bytes.set(id, at);
      view.setUint32(at + ID_BYTES, this.#days.markOf(id), true);
      at += RECORD_BYTES;
    }
    bytes.set(macOfRecords(bytes, this.#place));
    await replaceOwn(verifiedPath(this.#place), (file) => file.write(bytes, 0)).catch(() => {});
  }

  #load(bytes: Uint8Array, place: CachePlace): void {
    if (!equalBytes(macOfRecords(bytes, place), bytes.subarray(0, MAC_BYTES))) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = MAC_BYTES; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
      const id = bytes.subarray(at, at + ID_BYTES);
      this.#days.add(id);
      this.#days.mark(id, view.getUint32(at + ID_BYTES, true));
    }
  }
}

function macOfRecords(bytes: Uint8Array, { key }: CachePlace): Uint8Array {
  return macOf(key, "verified chunks", bytes.subarray(MAC_BYTES));
}
