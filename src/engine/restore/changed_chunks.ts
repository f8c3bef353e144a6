/** Which chunks of a volume a stream of changes names: a bit for each position, 32 KiB for a TiB. */
import { VarveError } from "../../errors.ts";
import { equalBytes } from "../../util/bytes.ts";
import { PAGE_CHUNKS } from "../../format/limits.ts";
import { snapshotFromJson, snapshotText } from "../../format/snapshot_name.ts";
import type { Source, VolumeDiff } from "../../sources/source.ts";
import type { OpenManifest } from "../../project/manifests.ts";

/** Data of a stream of changes is read past in pieces. */
const SKIP_BYTES = 1024 * 1024;

export class ChangedChunks {
  /** Up to here the target is as the base was, where no bit is set. */
  readonly sizeBytes: number;
  readonly #chunkBytes: number;
  readonly #bits: Uint8Array;

  constructor(sizeBytes: number, chunkBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#chunkBytes = chunkBytes;
    this.#bits = new Uint8Array(Math.ceil(sizeBytes / chunkBytes / 8));
  }

  add(offset: number, length: number): void {
    const end = Math.min(offset + length, this.sizeBytes);
    for (let at = Math.floor(offset / this.#chunkBytes); at * this.#chunkBytes < end; at++) {
      this.#bits[at >> 3]! |= 1 << (at & 7);
    }
  }

  /** Whether the first `length` bytes at `position` may be other than the base's. */
  has(position: number, length: number): boolean {
    if (position * this.#chunkBytes + length > this.sizeBytes) return true;
    return (this.#bits[position >> 3]! & (1 << (position & 7))) !== 0;
  }

  /** `has` for any chunk of a page. */
  inPage(page: number): boolean {
    const first = page * PAGE_CHUNKS;
    if ((first + PAGE_CHUNKS) * this.#chunkBytes > this.sizeBytes) return true;
    return this.#bits.subarray(first >> 3, (first + PAGE_CHUNKS) >> 3).some((byte) => byte !== 0);
  }
}

/** Nothing changed since the base. */
export function noChanges({ info }: OpenManifest): ChangedChunks {
  return new ChangedChunks(info.size_bytes, info.chunk_bytes);
}

/**
 * Reads a whole `rbd export-diff --from-snap` stream. Throws `StreamError` where it is not valid, `failed` where it does
 * not begin at the base's snapshot.
 */
export async function readChanges(source: Source, base: OpenManifest): Promise<ChangedChunks> {
  let changed: ChangedChunks | undefined;
  for await (const diff of source.diffs()) {
    if (changed !== undefined) {
      throw new VarveError("failed", `Cannot use "${source.name}": it contains more than one difference`);
    }
    changed = await collect(diff, source, base);
  }
  if (changed === undefined) {
    throw new VarveError("failed", `Cannot use "${source.name}": it contains no differences`);
  }
  return changed;
}

async function collect(diff: VolumeDiff, source: Source, { info }: OpenManifest): Promise<ChangedChunks> {
  assertBegin(diff, source, info);
  const changed = new ChangedChunks(Math.min(diff.sizeBytes!, info.size_bytes), info.chunk_bytes);
  const scratch = new Uint8Array(SKIP_BYTES);
  for await (const extent of diff.extents()) {
    changed.add(extent.offset, extent.length);
    if (extent.kind === "zero") continue;
    for (let left = extent.length; left > 0; left -= SKIP_BYTES) {
      await extent.read(scratch.subarray(0, Math.min(left, SKIP_BYTES)));
    }
  }
  return changed;
}

function assertBegin({ fromSnapshot }: VolumeDiff, source: Source, info: OpenManifest["info"]): void {
  const wanted = snapshotFromJson(info.to_snapshot);
  if (wanted !== undefined && fromSnapshot !== undefined && equalBytes(wanted, fromSnapshot)) return;
  const begins = fromSnapshot === undefined
    ? "is a full export"
    : `starts at snapshot "${snapshotText(fromSnapshot)}"`;
  const has = wanted === undefined ? "has no snapshot" : `has snapshot "${snapshotText(wanted)}"`;
  throw new VarveError(
    "failed",
    `Cannot use "${source.name}": the stream ${begins}, but restore point ${info.backup} ${has}`,
  );
}
