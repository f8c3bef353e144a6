/** Sources out of extents in memory, with nothing between them and the engine. */
import type { Extent, Source, VolumeDiff } from "../../src/sources/source.ts";
import { utf8 } from "../../src/util/bytes.ts";

/** Without `data` it is zeros. */
export interface TestExtent {
  offset: number;
  length: number;
  data?: Uint8Array;
}

export interface TestDiff {
  from?: string | Uint8Array | undefined;
  to?: string | Uint8Array | undefined;
  sizeBytes: number;
  /** The size is not known before the extents have been read, as of a raw pipe. */
  sizeComesLate?: boolean;
  extents: readonly TestExtent[];
}

export function data(offset: number, bytes: Uint8Array): TestExtent {
  return { offset, length: bytes.length, data: bytes };
}

export function zeros(offset: number, length: number): TestExtent {
  return { offset, length };
}

/** `atEnd` runs behind the last difference: where a real source finds that its stream or child failed. */
export function memorySource(diffs: readonly TestDiff[], atEnd: () => void = () => {}): Source {
  return {
    name: "memory",
    bytesRead: 0,
    async *diffs() {
      for (const diff of diffs) yield volumeDiff(diff);
      atEnd();
    },
    close: async () => {},
  };
}

/** One difference of a source that can be read anywhere: it holds `content`, whatever the difference says. */
export function readableSource(diff: TestDiff, content: Uint8Array): Source & { reads: number[] } {
  const reads: number[] = [];
  const readAt = async (into: Uint8Array, offset: number) => {
    if (offset + into.length > content.length) throw new Error("the source was read past its end");
    reads.push(offset);
    into.set(content.subarray(offset, offset + into.length));
  };
  return { ...memorySource([diff]), openReader: async () => ({ readAt }), reads };
}

function volumeDiff(diff: TestDiff): VolumeDiff {
  const name = (text: string | Uint8Array | undefined) => typeof text === "string" ? utf8(text) : text;
  return {
    fromSnapshot: name(diff.from),
    toSnapshot: name(diff.to),
    sizeBytes: diff.sizeComesLate ? undefined : diff.sizeBytes,
    async *extents() {
      for (const extent of diff.extents) yield* readable(extent);
      this.sizeBytes = diff.sizeBytes;
    },
  };
}

function* readable({ offset, length, data }: TestExtent): Generator<Extent> {
  if (data === undefined) return yield { kind: "zero", offset, length };
  let at = 0;
  const read = async (into: Uint8Array) => {
    if (at + into.length > length) throw new Error("an extent was read past its end");
    into.set(data.subarray(at, at += into.length));
  };
  yield { kind: "data", offset, length, read };
  if (at !== length) throw new Error("an extent was not read to its end");
}
