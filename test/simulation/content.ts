/**
 * Small volumes of few patterns, so that chunks are shared, forgotten and made again all the time. A volume is a text: one
 * digit for each half chunk, 0 for zeros, or a letter for a digit with one block changed.
 */
import { chunkId, LeafHasher } from "../../src/codec/ids.ts";
import type { ProjectKeys } from "../../src/codec/keys.ts";
import { toHex } from "../../src/util/bytes.ts";
import { BLOCK_BYTES, KIB, leavesBytes } from "../../src/format/limits.ts";
import type { TestDiff, TestExtent } from "../kit/memory_source.ts";
import type { Random } from "./scheduler.ts";

export const CHUNK_BYTES = 64 * KIB;
const PIECE_BYTES = CHUNK_BYTES / 2;
const PATTERNS = 4;
const MAX_PIECES = 8;

/** Each pattern with one block of something else, which makes a chunk of it a block patch. */
const LETTERS = "abcd";
const PIECES = new Map<string, Uint8Array>();
for (let i = 0; i < PATTERNS; i++) {
  const piece = new Uint8Array(PIECE_BYTES).fill(i);
  PIECES.set(String(i), piece);
  PIECES.set(LETTERS[i]!, piece.slice().fill(9, 0, BLOCK_BYTES));
}
const ids = new Map<string, string>();

export function newVolume(random: Random): string {
  return Array.from({ length: 2 + random(MAX_PIECES - 1) }, () => random(PATTERNS)).join("");
}

/** The volume after a few writes, and now and then of another size. */
export function changedVolume(volume: string, random: Random): string {
  const pieces = [...volume];
  if (random(6) === 0) pieces.length = 1 + random(MAX_PIECES);
  const changes = random(3);
  for (let i = 0; i < changes; i++) {
    const at = random(pieces.length);
    pieces[at] = random(2) === 0 ? String(random(PATTERNS)) : LETTERS[Number(pieces[at])] ?? pieces[at]!;
  }
  return Array.from(pieces, (piece) => piece ?? "0").join("");
}

export function volumeBytes(volume: string): Uint8Array {
  return new Uint8Array(Buffer.concat([...volume].map((piece) => PIECES.get(piece)!)));
}

/** The difference of `volume` to `base`, or to nothing. */
export function diffOf(
  volume: string,
  { base, from, to }: { base: string; from: string | undefined; to: string },
): TestDiff {
  const extents: TestExtent[] = [];
  for (const [i, piece] of [...volume].entries()) {
    if (piece === (base[i] ?? "0")) continue;
    const range = { offset: i * PIECE_BYTES, length: PIECE_BYTES };
    extents.push(piece === "0" ? range : { ...range, data: PIECES.get(piece)! });
  }
  return { from, to, sizeBytes: volume.length * PIECE_BYTES, extents };
}

/** The ids of the volume's chunks in hex, `undefined` for zeros. */
export function chunkIds(volume: string, keys: ProjectKeys): (string | undefined)[] {
  const chunks = volume.match(/..?/g) ?? [];
  return chunks.map((chunk) => /^0+$/.test(chunk) ? undefined : idOf(chunk, keys));
}

function idOf(chunk: string, keys: ProjectKeys): string {
  const name = `${toHex(keys.id)} ${chunk}`;
  const known = ids.get(name);
  if (known !== undefined) return known;
  const bytes = volumeBytes(chunk);
  const leaves = new Uint8Array(leavesBytes(bytes.length));
  new LeafHasher(keys).write(bytes, leaves);
  const id = toHex(chunkId(keys.idKey, bytes.length, leaves));
  ids.set(name, id);
  return id;
}
