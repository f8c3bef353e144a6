/** Recorded streams of a real cluster, through the built program into a directory, and every point back. */
import { beforeAll, describe, expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { type Chain, readChains, readStream } from "../kit/chains.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

const LIMIT_MS = 120_000;
const chains = await readChains();
const repository = new Workbench(scratchFolder());
const file = repository.path("new");
/** Kept: what a chain finds here is another chain's last point. */
const inPlace = repository.path("in-place");

beforeAll(async () => {
  expect(await repository.run(["init", "recorded", "--no-encryption"])).toMatchObject({ code: 0 });
});

/** The ways in which a stream can come; they take turns. */
const ways = [
  async (volume: string, stream: Uint8Array) =>
    await repository.json(["backup", volume, "-"], { stdin: stream }),
  async (volume: string, stream: Uint8Array) => {
    const file = repository.path("stream");
    await Bun.write(file, stream);
    await repository.json(["backup", volume, file]);
  },
  async (volume: string, stream: Uint8Array) => {
    const file = repository.path("stream");
    await Bun.write(file, stream);
    await repository.json(["backup", volume, "--exec", "--", "cat", file]);
  },
];

async function backUp(chain: Chain): Promise<void> {
  for (const [at, { file }] of chain.streams.entries()) {
    await ways[at % ways.length]!(`recorded/${chain.name}`, await readStream(file));
  }
}

describe("varve gives back what rbd export gave, point for point, of the recorded chain", () => {
  test.each(chains.map((chain) => [chain.name, chain] as const))("%s", async (name, chain) => {
    await backUp(chain);
    const volume = `recorded/${name}`;
    const points = chain.streams.flatMap((stream) => stream.points);
    const backups = await repository.list(volume);
    expect(backups.map(({ to_snapshot, size_bytes }) => ({ snapshot: to_snapshot, size_bytes })))
      .toEqual(points.map(({ snapshot, size_bytes }) => ({ snapshot, size_bytes })));
    for (const [at, { size_bytes, sha256 }] of points.entries()) {
      const point = `${volume}@${backups[at]!.backup}`;
      const restored = [file, inPlace].map((to) => repository.restoreToFile(point, to));
      const sum = { size_bytes, sha256 };
      expect(await Promise.all(restored)).toEqual([sum, sum]);
      await rm(file);
    }
    const { size_bytes, sha256 } = points.at(-1)!;
    expect(await repository.restoreToPipe(volume)).toEqual({ size_bytes, sha256 });
  }, LIMIT_MS);

  test("(none was left out)", () => {
    expect(chains.length).toBeGreaterThanOrEqual(21);
  });
});
