/** Ranges of a volume that have something in common: adjacent ones are one, and their number is bounded. */

/** Ranges that are told; more are only counted. */
const MAX_RANGES = 1000;

/** Bytes of a volume. */
export interface ByteRange {
  offset: number;
  length: number;
}

export class ByteRanges {
  /** Merged, ascending; the first 1,000. */
  readonly told: ByteRange[] = [];
  /** Of all ranges. */
  bytes = 0;
  #count = 0;
  /** One past the last byte of the last range. */
  #end = -1;

  /** Ranges beyond those that are told. */
  get more(): number {
    return this.#count - this.told.length;
  }

  /** Ranges come in ascending order. */
  add(offset: number, length: number): void {
    const isNext = offset === this.#end;
    this.bytes += length;
    this.#end = offset + length;
    if (!isNext) this.#count++;
    if (isNext && this.more === 0) this.told.at(-1)!.length += length;
    else if (!isNext && this.told.length < MAX_RANGES) this.told.push({ offset, length });
  }
}
