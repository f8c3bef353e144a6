/** Replays every recorded chain of real streams onto a plain byte array: each point must be what `rbd export` gave. */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type SnapshotJson, snapshotToJson } from "../../src/format/snapshot_name.ts";
import { openSource } from "../../src/sources/open.ts";
import { applyDiff, readDiff } from "../kit/rbd_stream.ts";

const FOLDER = path.join(import.meta.dir, "../fixtures/rbd");

interface Point {
  snapshot: SnapshotJson;
  size_bytes: number;
  sha256: string;
}

interface Chain {
  name: string;
  streams: { file: string; bytes: number; points: Point[] }[];
}

const index: { chains: Chain[] } = await Bun.file(path.join(FOLDER, "index.json")).json();

/** The points that a chain's streams lead to, and the bytes read. */
async function replay(chain: Chain): Promise<{ points: Point[]; bytes: number[] }> {
  const points: Point[] = [];
  const bytes: number[] = [];
  let volume: Uint8Array = new Uint8Array();
  for (const { file } of chain.streams) {
    const source = await openFixture(file);
    for await (const diff of source.diffs()) {
      volume = applyDiff(volume, await readDiff(diff));
      points.push({
        snapshot: snapshotToJson(diff.toSnapshot),
        size_bytes: volume.length,
        sha256: createHash("sha256").update(volume).digest("hex"),
      });
    }
    bytes.push(source.bytesRead);
    await source.close();
  }
  return { points, bytes };
}

async function openFixture(file: string) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "varve-test-"));
  try {
    const stream = path.join(folder, "stream");
    await fs.writeFile(stream, Bun.zstdDecompressSync(await Bun.file(path.join(FOLDER, file)).bytes()));
    return await openSource({ path: stream }, { format: "auto", signal: new AbortController().signal });
  } finally {
    await fs.rm(folder, { recursive: true });
  }
}

describe("openSource() gives what rbd export gave, point for point, of the recorded chain", () => {
  test.each(index.chains.map((chain) => [chain.name, chain] as const))("%s", async (_, chain) => {
    const { points, bytes } = await replay(chain);
    expect(points).toEqual(chain.streams.flatMap((stream) => stream.points));
    expect(bytes).toEqual(chain.streams.map((stream) => stream.bytes));
  });

  test("(none was left out)", () => {
    expect(index.chains.length).toBeGreaterThanOrEqual(21);
  });
});
