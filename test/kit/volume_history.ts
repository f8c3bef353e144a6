/**
 * Random histories of a volume: differences in every order, size and overlap, and what the volume then holds, by a model
 * that is a plain byte array.
 */
import fc from "fast-check";
import { CHUNK_BYTES, noise } from "./engine.ts";
import { data, type TestDiff, type TestExtent, zeros } from "./memory_source.ts";

/** One difference and the bytes of the volume behind it. */
export interface Step {
  diff: TestDiff;
  volume: Uint8Array;
  /** The step that it begins at, by its number: others may have the same snapshot's name. */
  base: number | undefined;
  /** Hand it over as an rbd stream. */
  asStream: boolean;
}

export interface HistoryOptions {
  /** Chunks of the largest volume. */
  chunks: number;
  steps: number;
  /** Places where most extents begin and end, in chunks. */
  near: readonly number[];
}

/** What fast-check draws for one step: numbers, of which `stepOf` makes what fits the volume. */
export interface Draw {
  kind: "full" | "incremental" | "raw";
  asStream: boolean;
  /** `undefined`: as before. */
  size: number | undefined;
  edits: Edit[];
  /** The snapshot that it begins at, counted back; the name that it gets, `undefined` for none. */
  back: number;
  name: string | undefined;
}

type Edit =
  | { kind: "data" | "zeros" | "same"; from: number; length: number; seed: number }
  /** Many chunks, a piece of each in turns, as a striped image has them. */
  | { kind: "stripes"; from: number; chunks: number; pieces: number; seed: number };

/** Offsets at and around the borders of chunks and blocks, and anywhere. */
function offset({ chunks, near }: HistoryOptions): fc.Arbitrary<number> {
  const border = fc.tuple(fc.oneof(fc.constantFrom(...near), fc.nat(chunks)), fc.integer({ min: -2, max: 2 }))
    .map(([chunk, by]) => Math.max(0, chunk * CHUNK_BYTES + by));
  const block = fc.tuple(fc.constantFrom(...near), fc.nat(15)).map(([chunk, at]) =>
    chunk * CHUNK_BYTES + at * 4096
  );
  const any = fc.tuple(fc.constantFrom(...near), fc.nat(2 * CHUNK_BYTES)).map(([chunk, at]) =>
    chunk * CHUNK_BYTES + at
  );
  return fc.oneof({ weight: 2, arbitrary: border }, block, any);
}

const length = fc.oneof(
  fc.nat(5),
  fc.constantFrom(4095, 4096, 4097, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES),
  fc.nat(2 * CHUNK_BYTES),
);

// Few seeds: the same bytes come again in other places and at other times.
const seed = fc.nat(6);

function edit(options: HistoryOptions): fc.Arbitrary<Edit> {
  const from = offset(options);
  const kind = fc.constantFrom("data" as const, "zeros" as const, "same" as const);
  const stripes = fc.record({
    kind: fc.constant("stripes" as const),
    from,
    chunks: fc.integer({ min: 5, max: 10 }),
    pieces: fc.integer({ min: 2, max: 3 }),
    seed,
  });
  return fc.oneof({ weight: 6, arbitrary: fc.record({ kind, from, length, seed }) }, stripes);
}

function draw(options: HistoryOptions): fc.Arbitrary<Draw> {
  return fc.record({
    kind: fc.constantFrom("full" as const, "incremental" as const, "incremental" as const, "raw" as const),
    asStream: fc.nat(2).map((n) => n === 0),
    size: fc.option(fc.oneof({ weight: 6, arbitrary: offset(options) }, fc.constant(0)), { nil: undefined }),
    edits: fc.array(edit(options), { maxLength: 8 }),
    back: fc.nat(3),
    name: fc.option(fc.constantFrom("one", "two", "three"), { nil: undefined, freq: 6 }),
  });
}

/** What `stepsOf` makes a history of at least one step of: small, so that a failure can be read. */
export function histories(options: HistoryOptions): fc.Arbitrary<Draw[]> {
  return fc.array(draw(options), { minLength: 1, maxLength: options.steps, size: "max" });
}

export function stepsOf(draws: readonly Draw[], options: HistoryOptions): Step[] {
  const steps: Step[] = [];
  for (const draw of draws) steps.push(stepOf(draw, steps, options));
  return steps;
}

function stepOf(draw: Draw, steps: readonly Step[], { chunks }: HistoryOptions): Step {
  const last = steps.at(-1)?.volume ?? new Uint8Array();
  const sizeBytes = draw.size ?? (steps.length === 0 ? chunks * CHUNK_BYTES : last.length);
  const at = draw.kind === "incremental" ? baseOf(draw, steps) : undefined;
  const base = at === undefined ? undefined : steps[at]!;
  const common = { from: base?.diff.to, to: draw.name, sizeBytes };
  const edits = draw.edits.flatMap((edit) => extentsOf(edit, { sizeBytes, last }));
  const volume = applied(base?.volume ?? new Uint8Array(), { ...common, extents: edits });
  if (draw.kind !== "raw") {
    return { diff: { ...common, extents: edits }, volume, base: at, asStream: draw.asStream };
  }
  const pieces = edits.flatMap(({ offset, length }) => [offset, offset + length]);
  const extents = cut(volume, pieces);
  return { diff: { ...common, sizeComesLate: true, extents }, volume, base: undefined, asStream: false };
}

/** The step that an incremental begins at: any that has a snapshot. */
function baseOf({ back }: Draw, steps: readonly Step[]): number | undefined {
  const named = [...steps.keys()].filter((at) => steps[at]!.diff.to !== undefined);
  return named[named.length - 1 - back % (named.length || 1)];
}

function extentsOf(edit: Edit, volume: { sizeBytes: number; last: Uint8Array }): TestExtent[] {
  const { sizeBytes, last } = volume;
  const from = Math.min(edit.from, sizeBytes);
  if (edit.kind === "stripes") return stripes({ ...edit, from }, sizeBytes);
  const length = Math.min(edit.length, sizeBytes - from);
  if (edit.kind === "zeros") return [zeros(from, length)];
  if (edit.kind === "data") return [data(from, noise(edit.seed, length))];
  const same = new Uint8Array(length);
  same.set(last.subarray(from, from + length));
  return [data(from, same)];
}

function stripes(edit: Extract<Edit, { kind: "stripes" }>, sizeBytes: number): TestExtent[] {
  const pieceBytes = Math.floor(CHUNK_BYTES / edit.pieces);
  const extents: TestExtent[] = [];
  for (let piece = 0; piece < edit.pieces; piece++) {
    for (let chunk = 0; chunk < edit.chunks; chunk++) {
      const offset = edit.from + chunk * CHUNK_BYTES + piece * pieceBytes;
      const length = Math.min(pieceBytes, sizeBytes - offset);
      if (length > 0) extents.push(data(offset, noise(edit.seed + chunk * 10 + piece, length)));
    }
  }
  return extents;
}

/** Every byte of the volume once, in order, cut at these places. */
function cut(volume: Uint8Array, places: readonly number[]): TestExtent[] {
  const ends = [...new Set([...places, volume.length])].sort((a, b) => a - b);
  const starts = [0, ...ends];
  return ends.map((end, i) => data(starts[i]!, volume.subarray(starts[i]!, end)));
}

/** The model: what a volume holds behind a difference. */
export function applied(base: Uint8Array, diff: TestDiff): Uint8Array {
  const volume = new Uint8Array(diff.sizeBytes);
  if (diff.from !== undefined) volume.set(base.subarray(0, volume.length));
  for (const { offset, length, data } of diff.extents) {
    if (data === undefined) volume.fill(0, offset, offset + length);
    else volume.set(data, offset);
  }
  return volume;
}
