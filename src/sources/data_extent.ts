/** The data extent that all sources hand out: holds its consumer to reading every byte of it, and none more. */
import type { Extent } from "./source.ts";

/** `fill` fills the array with the extent's next bytes. A consumer that breaks the rule of `Extent` is a defect. */
export async function* dataExtent(
  { offset, length }: { offset: number; length: number },
  fill: (into: Uint8Array) => Promise<void>,
): AsyncGenerator<Extent> {
  let left = length;
  const read = (into: Uint8Array): Promise<void> => {
    left -= into.length;
    if (left < 0) throw new Error("An extent was read past its end");
    return fill(into);
  };
  yield { kind: "data", offset, length, read };
  if (left > 0) throw new Error("An extent was not read to its end");
}
