/**
 * What a volume of the soak test holds at its snapshot `s<n>`: pure, so that whoever finds a restore point knows what must
 * be in it. Volumes share half of their content, and content comes back when it is garbage.
 */
import { noise } from "./engine.ts";
import { encodeDiff, type TestRecord } from "./rbd_stream.ts";

/** Half a chunk: streams cover chunks in part. */
const PIECE_BYTES = 32 * 1024;
const PIECES = 96;
export const SIZE_BYTES = PIECES * PIECE_BYTES;
/** A quarter of the chunks changes from one snapshot to the next, and is as before after as many again. */
const STEPS = 4;

export interface Snapshot {
  volume: string;
  n: number;
}

export function snapshotName({ n }: Snapshot): string {
  return `s${n}`;
}

export function parseSnapshot(volume: string, name: unknown): Snapshot {
  const n = /^s(\d+)$/.exec(String(name))?.[1];
  if (n === undefined) throw new Error(`no backup was made of a snapshot "${name}"`);
  return { volume, n: Number(n) };
}

/** The volume's bytes. */
export function contentOf(snapshot: Snapshot): Uint8Array {
  const bytes = new Uint8Array(SIZE_BYTES);
  for (let piece = 0; piece < PIECES; piece++) {
    const seed = seedOf(snapshot, piece);
    if (seed !== 0) bytes.set(noise(seed, PIECE_BYTES), piece * PIECE_BYTES);
  }
  return bytes;
}

/** The rbd stream of what changed since `from`, or of all that is no zeros. */
export function streamOf(snapshot: Snapshot, from: Snapshot | undefined): Uint8Array {
  const records: TestRecord[] = from === undefined ? [] : [{ tag: "f", name: snapshotName(from) }];
  records.push({ tag: "t", name: snapshotName(snapshot) }, { tag: "s", sizeBytes: SIZE_BYTES });
  for (let piece = 0; piece < PIECES; piece++) {
    const seed = seedOf(snapshot, piece);
    if (seed === (from === undefined ? 0 : seedOf(from, piece))) continue;
    const offset = piece * PIECE_BYTES;
    records.push(
      seed === 0
        ? { tag: "z", offset, length: PIECE_BYTES }
        : { tag: "w", offset, data: noise(seed, PIECE_BYTES) },
    );
  }
  return encodeDiff([...records, { tag: "e" }]);
}

/** The first piece is this snapshot's alone, some never change; 0 stands for zeros. */
function seedOf({ volume, n }: Snapshot, piece: number): number {
  if (piece === 0) return numberOf(`${volume} ${n}`);
  const chunk = piece >> 1;
  const isFixed = piece % 6 === 1;
  const version = isFixed ? 0 : Math.floor((n + chunk) / STEPS) % 2;
  if (version === 1 && chunk % 5 === 0) return 0;
  return numberOf(`${chunk % 2 === 0 ? "all" : volume} ${piece} ${version}`);
}

/** Of a text; never 0. */
function numberOf(text: string): number {
  return Number(Bun.hash.crc32(text)) || 1;
}
