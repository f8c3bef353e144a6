/** A set of positions of a volume: one bit for each, up to the highest. A volume of 1 TiB in chunks of 4 MiB takes 32 KiB. */

const FIRST_BYTES = 1024;

export class PositionSet {
  #bits = new Uint8Array(FIRST_BYTES);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds `count` positions from `position` on. */
  add(position: number, count: number): void {
    const end = position + count;
    if (end > this.#bits.length * 8) this.#grow(end);
    for (let at = position; at < end; at++) {
      if (this.has(at)) continue;
      this.#bits[at >>> 3]! |= 1 << (at & 7);
      this.#size++;
    }
  }

  has(position: number): boolean {
    return ((this.#bits[position >>> 3] ?? 0) & (1 << (position & 7))) !== 0;
  }

  #grow(positions: number): void {
    const bits = new Uint8Array(Math.max(Math.ceil(positions / 8), 2 * this.#bits.length));
    bits.set(this.#bits);
    this.#bits = bits;
  }
}
