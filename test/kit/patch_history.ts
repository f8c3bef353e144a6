/**
 * Random histories of small writes to volumes that begin alike, from hosts whose caches may be wrong, with points
 * forgotten and garbage collected in between.
 */
import fc from "fast-check";
import { BLOCK_BYTES } from "../../src/format/limits.ts";
import { CHUNK_BYTES, noise, noiseChunks } from "./engine.ts";
import { data, type TestExtent, zeros } from "./memory_source.ts";
import { CHUNK_BLOCKS } from "./patches.ts";

export const VOLUMES = ["a", "b"];
export const HOSTS = 3;
const MAX_CHUNKS = 10;
/** Positions 0 and 4 begin with the same content, in both volumes. More chunks than a chunker holds open. */
export const FIRST = noiseChunks(1, 2, 3, 4, 1, 5, 6, 7);

type Edit =
  | { kind: "blocks" | "zero blocks"; chunk: number; block: number; count: number; seed: number }
  | { kind: "bytes" | "zero bytes"; at: number; length: number; seed: number }
  /** What is there is sent again, but for one block. */
  | { kind: "object"; chunk: number; block: number; seed: number }
  /** Each chunk in two pieces, the second ones after all of the first. */
  | { kind: "twice"; block: number; seed: number };

export type Action =
  | {
    kind: "backup";
    volume: number;
    host: number;
    stream: "incremental" | "full" | "raw";
    edits: Edit[];
    size: number | undefined;
  }
  | { kind: "damage caches"; host: number; seed: number }
  /** What a host remembers of the volumes changes places. */
  | { kind: "swap caches"; host: number }
  | { kind: "forget"; back: number }
  | { kind: "gc" };

const chunk = fc.nat(FIRST.length / CHUNK_BYTES - 1);
const block = fc.nat(CHUNK_BLOCKS - 1);
// Few seeds: contents come back.
const seed = fc.integer({ min: 20, max: 26 });
const edit: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("blocks" as const, "blocks" as const, "zero blocks" as const),
      ...{ chunk, block, seed },
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("bytes" as const, "zero bytes" as const),
      at: fc.nat(FIRST.length),
      length: fc.integer({ min: 1, max: 2 * BLOCK_BYTES }),
      seed,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("object" as const), chunk, block, seed }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("twice" as const),
      // The second pieces are mostly what a patch can hold.
      block: fc.constantFrom(1, 8, 13, 14, 15),
      seed,
    }),
  },
);
const host = fc.nat(HOSTS - 1);
export const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("backup" as const),
      volume: fc.nat(VOLUMES.length - 1),
      host,
      stream: fc.constantFrom(
        "incremental" as const,
        "incremental" as const,
        "full" as const,
        "raw" as const,
      ),
      edits: fc.array(edit, { minLength: 1, maxLength: 4 }),
      size: fc.oneof(
        { weight: 5, arbitrary: fc.constant(undefined) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: MAX_CHUNKS * CHUNK_BYTES }) },
      ),
    }),
  },
  fc.record({ kind: fc.constant("damage caches" as const), host, seed: fc.nat(1000) }),
  fc.record({ kind: fc.constant("swap caches" as const), host }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("forget" as const), back: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("gc" as const) }) },
);

/** What an edit writes to the volume. */
export function extentsOf(edit: Edit, volume: Uint8Array): TestExtent[] {
  return rawExtents(edit, volume).flatMap(({ offset, length, data }) => {
    const rest = Math.min(length, volume.length - offset);
    if (rest <= 0) return [];
    return [{ offset, length: rest, ...(data && { data: data.slice(0, rest) }) }];
  });
}

function rawExtents(edit: Edit, volume: Uint8Array): TestExtent[] {
  switch (edit.kind) {
    case "blocks":
    case "zero blocks": {
      const offset = edit.chunk * CHUNK_BYTES + edit.block * BLOCK_BYTES;
      const length = edit.count * BLOCK_BYTES;
      return [edit.kind === "blocks" ? data(offset, noise(edit.seed, length)) : zeros(offset, length)];
    }
    case "bytes":
      return [data(edit.at, noise(edit.seed, edit.length))];
    case "zero bytes":
      return [zeros(edit.at, edit.length)];
    case "object": {
      const content = volume.slice(edit.chunk * CHUNK_BYTES, (edit.chunk + 1) * CHUNK_BYTES);
      content.set(
        noise(edit.seed, BLOCK_BYTES).slice(0, Math.max(0, content.length - edit.block * BLOCK_BYTES)),
        Math.min(content.length, edit.block * BLOCK_BYTES),
      );
      return [data(edit.chunk * CHUNK_BYTES, content)];
    }
    case "twice":
      return twice(edit, volume);
  }
}

/** More chunks than the chunker holds open: they are handed on with gaps, and taken up again. */
function twice({ block, seed }: Extract<Edit, { kind: "twice" }>, volume: Uint8Array): TestExtent[] {
  const positions = Array.from({ length: Math.ceil(volume.length / CHUNK_BYTES) }, (_, i) => i * CHUNK_BYTES);
  const at = block * BLOCK_BYTES;
  const most = positions.map((offset) => data(offset, noise(seed + offset / CHUNK_BYTES, at)));
  const rest = positions.map((offset) => data(offset + at, noise(seed, CHUNK_BYTES - at)));
  return [...most, ...rest];
}
