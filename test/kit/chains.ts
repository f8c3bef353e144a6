/** The recorded chains of test/fixtures/rbd, and the sums that points are compared by. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { SnapshotJson } from "../../src/format/snapshot_name.ts";

const FOLDER = join(import.meta.dirname, "../fixtures/rbd");

/** What `rbd export` gave of a snapshot (`null`: of the head). */
export interface Point {
  snapshot: SnapshotJson;
  size_bytes: number;
  sha256: string;
}

export interface Chain {
  name: string;
  streams: { file: string; points: Point[] }[];
}

export async function readChains(): Promise<Chain[]> {
  const { chains } = await Bun.file(join(FOLDER, "index.json")).json() as { chains: Chain[] };
  return chains;
}

/** The bytes of a recorded stream, as rbd printed them. */
export async function readStream(file: string): Promise<Uint8Array> {
  return Bun.zstdDecompressSync(await Bun.file(join(FOLDER, file)).bytes());
}

/** Size and SHA-256 of a volume. */
export function sumOf(bytes: Uint8Array): Pick<Point, "size_bytes" | "sha256"> {
  return { size_bytes: bytes.length, sha256: sha256(bytes) };
}

/** In hex. */
export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export async function sumOfFile(path: string): Promise<Pick<Point, "size_bytes" | "sha256">> {
  return sumOf(await Bun.file(path).bytes());
}
