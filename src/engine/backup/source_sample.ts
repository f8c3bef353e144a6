/**
 * A difference says what changed, not since what: that its base is what the source had is only known by a name. So a sample
 * of what it left out is compared with the source itself.
 */
import { UsageError, VarveError } from "../../errors.ts";
import type { ProjectKeys } from "../../codec/keys.ts";
import { sameBytes } from "../../util/bytes.ts";
import { chunkLength } from "../../format/limits.ts";
import type { Source, VolumeReader } from "../../sources/source.ts";
import type { ChunkResources } from "../../volume/resources.ts";
import type { PageTable } from "../../volume/page_table.ts";
import { PositionSet } from "../../util/position_set.ts";

/** How many of the chunks that a difference left out are compared: above 0, up to 1. */
export interface SampleOptions {
  share: number;
  random: () => number;
}

interface Compared {
  /** The table of the new point. */
  table: PageTable;
  /** Whose ids it has. */
  keys: ProjectKeys;
  sizeBytes: number;
  chunkBytes: number;
  resources: ChunkResources;
  signal: AbortSignal;
  /** PROJECT/VOLUME, and the backup that the difference continues, for messages. */
  thing: string;
  base: string | undefined;
}

export class SourceSample {
  /** What the difference gave as a whole; of any other chunk at least a part is as it was in the base. */
  readonly covered = new PositionSet();
  readonly #name: string;
  readonly #reader: VolumeReader;
  readonly #options: SampleOptions;

  private constructor(
    { name }: Source,
    { reader, options }: { reader: VolumeReader; options: SampleOptions },
  ) {
    this.#name = name;
    this.#reader = reader;
    this.#options = options;
  }

  /** Of a source that can be read anywhere: what cannot be read is known before its difference is stored. */
  static async open(source: Source, options: SampleOptions): Promise<SourceSample> {
    return new SourceSample(source, { reader: await source.openReader!(), options });
  }

  /** Compares, and tells how many chunks. Throws `conflict` at the first that the source has otherwise. */
  async compare(compared: Compared): Promise<number> {
    const { sizeBytes, chunkBytes, signal } = compared;
    const total = Math.ceil(sizeBytes / chunkBytes);
    let chunks = 0;
    for (const position of choose(this.covered, total, this.#options)) {
      signal.throwIfAborted();
      if (!await this.#isEqual(position, compared)) throw differs(this.#name, position, compared);
      chunks++;
    }
    return chunks;
  }

  async #isEqual(position: number, compared: Compared): Promise<boolean> {
    const { table, resources, keys, chunkBytes } = compared;
    const length = chunkLength(position, compared);
    const buffer = await resources.chunks.acquire();
    try {
      await this.#reader.readAt(buffer.bytes.subarray(0, length), position * chunkBytes);
      const id = await resources.pool.hash({ buffer, length }, keys);
      const entry = await table.get(position);
      return sameBytes(id, entry?.id);
    } finally {
      buffer.release();
    }
  }
}

/** Ascending positions that are not covered: spread evenly, beginning at a random one, and at least one where there is any. */
function* choose(covered: PositionSet, total: number, { share, random }: SampleOptions): Generator<number> {
  const step = 1 / share;
  let next = random() * Math.min(step, total - covered.size);
  let seen = 0;
  for (let position = 0; position < total; position++) {
    if (covered.has(position) || seen++ < Math.floor(next)) continue;
    yield position;
    next += step;
  }
}

/** Throws `UsageError` where no sample of the source can be read. */
export function assertReadable(source: Source): void {
  if (source.openReader !== undefined) return;
  throw new UsageError(
    `Cannot compare a sample with "${source.name}": it can be read only once; back up the image itself, as ` +
      "rbd:POOL/IMAGE@SNAP (devices and raw files are always compared in full)",
  );
}

function differs(name: string, position: number, { thing, base, chunkBytes }: Compared): VarveError {
  const place = `"${name}" at offset ${position * chunkBytes}`;
  const state = base === undefined
    ? `the stream misses the data in ${place}; nothing was committed; check the object map of the image`
    : `the stream does not follow "${thing}@${base}", which differs from ${place}, outside the stream; ` +
      "nothing was committed; back up in full, with --full";
  return new VarveError("conflict", `Cannot back up "${thing}": ${state}`);
}
