/** Which bytes of a chunk a stream has given so far: a sorted list of disjoint ranges. */

export interface Range {
  /** First byte. */
  from: number;
  /** One past the last byte. */
  to: number;
}

export class Coverage {
  #ranges: Range[] = [];

  /** Adds `from` up to, not including, `to`. */
  add(from: number, to: number): void {
    if (from >= to) return;
    const last = this.#ranges.at(-1);
    if (last !== undefined && last.to === from) {
      last.to = to;
      return;
    }
    const before = this.#ranges.filter((range) => range.to < from);
    const after = this.#ranges.filter((range) => range.from > to);
    const joined = this.#ranges.slice(before.length, this.#ranges.length - after.length);
    const merged = {
      from: Math.min(from, joined[0]?.from ?? from),
      to: Math.max(to, joined.at(-1)?.to ?? to),
    };
    this.#ranges = [...before, merged, ...after];
  }

  /** The ranges below `length` that were not added, ascending. */
  gaps(length: number): Range[] {
    const gaps: Range[] = [];
    let from = 0;
    for (const range of this.#ranges) {
      if (range.from > from) gaps.push({ from, to: Math.min(range.from, length) });
      from = Math.max(from, range.to);
      if (from >= length) return gaps.filter((gap) => gap.from < gap.to);
    }
    gaps.push({ from, to: length });
    return gaps.filter((gap) => gap.from < gap.to);
  }

  /** Whether every byte below `length` was added. */
  covers(length: number): boolean {
    const [first] = this.#ranges;
    return length === 0 || (first !== undefined && first.from === 0 && first.to >= length);
  }
}
