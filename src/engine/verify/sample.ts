/** Which chunks a verify reads back. */
import type { ObjectRef } from "../../format/layout.ts";

/** Which of the chunks that are there are read back: none, all, or a part of them. */
export type Sample =
  | { kind: "none" }
  | { kind: "all" }
  /** Chosen anew each time. */
  | { kind: "share"; share: number; random: () => number }
  /** Part number `part` of `parts`: after all parts every chunk was read. */
  | { kind: "part"; part: number; parts: number };

/** Of the chunks that are there, how many the sample takes; it may be others than it takes in the end. */
export function shareOf(sample: Sample): number {
  if (sample.kind === "part") return 1 / sample.parts;
  return sample.kind === "share" ? sample.share : sample.kind === "all" ? 1 : 0;
}

export function isChosen({ id }: ObjectRef, sample: Sample): boolean {
  switch (sample.kind) {
    case "none":
      return false;
    case "all":
      return true;
    case "share":
      return sample.random() < sample.share;
    case "part":
      return new DataView(id.buffer, id.byteOffset).getUint32(8, true) % sample.parts === sample.part;
  }
}
