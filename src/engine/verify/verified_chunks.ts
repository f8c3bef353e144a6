/**
 * When this host read back which chunk and found it whole, so that `--max-age` can pass over what was verified lately. A
 * file of records of id (32) and day since 1970 (u32), behind the SHA-256 of all of them: one that was changed is not used.
 */
import { readFile, writeFile } from "node:fs/promises";
import { replaceFile, verifiedPath } from "../../cache/cache_folder.ts";
import { equalBytes } from "../../format/bytes.ts";
import { ID_BYTES } from "../../format/limits.ts";
import { cachePlace } from "../cache_place.ts";
import type { Context } from "../context.ts";
import { IdSet } from "../id_set.ts";
import type { Project } from "../project.ts";

const DAY_MS = 24 * 3600_000;
const SUM_BYTES = 32;
const RECORD_BYTES = ID_BYTES + 4;
/** Chunks remembered; of the others just these are read again. */
const MAX_CHUNKS = 4_000_000;

export class VerifiedChunks {
  readonly #path: string | undefined;
  readonly #today: number;
  readonly #days = new IdSet();

  private constructor(path: string | undefined, today: number) {
    this.#path = path;
    this.#today = today;
  }

  /** Never fails: what cannot be read was never verified. */
  static async open(project: Project, context: Context): Promise<VerifiedChunks> {
    const place = cachePlace(project, context);
    const path = place === undefined ? undefined : verifiedPath(place);
    const verified = new VerifiedChunks(path, Math.floor(context.clock.now() / DAY_MS));
    const bytes = path === undefined ? undefined : await readFile(path).catch(() => undefined);
    if (bytes !== undefined) verified.#load(bytes);
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
    if (this.#path === undefined) return;
    let known = 0;
    for (const _ of this.#days.ids(true)) known++;
    const bytes = new Uint8Array(SUM_BYTES + known * RECORD_BYTES);
    const view = new DataView(bytes.buffer);
    let at = SUM_BYTES;
    for (const id of this.#days.ids(true)) {
      bytes.set(id, at);
      view.setUint32(at + ID_BYTES, this.#days.markOf(id), true);
      at += RECORD_BYTES;
    }
    bytes.set(checkSum(bytes));
    await replaceFile(this.#path, (temporary) => writeFile(temporary, bytes, { mode: 0o600 })).catch(
      () => {},
    );
  }

  #load(bytes: Uint8Array): void {
    if (bytes.length < SUM_BYTES || !equalBytes(checkSum(bytes), bytes.subarray(0, SUM_BYTES))) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = SUM_BYTES; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
      const id = bytes.subarray(at, at + ID_BYTES);
      this.#days.add(id);
      this.#days.mark(id, view.getUint32(at + ID_BYTES, true));
    }
  }
}

function checkSum(bytes: Uint8Array): Uint8Array {
  return Bun.SHA256.hash(bytes.subarray(SUM_BYTES) as Uint8Array<ArrayBuffer>) as Uint8Array;
}
