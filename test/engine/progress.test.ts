/** What tells how far it is also tells, as soon as that is known, how far it has to go; and gets there. */
import { beforeAll, describe, expect, test } from "bun:test";
import { gc, type GcProgress } from "../../src/engine/gc/gc.ts";
import { stats, type StatsProgress } from "../../src/engine/stats/stats.ts";
import type { Sample } from "../../src/engine/verify/sample.ts";
import type { VerifyProgress } from "../../src/engine/verify/verifier.ts";
import { verify } from "../../src/engine/verify/verify.ts";
import { verifySource } from "../../src/engine/verify/verify_source.ts";
import type { Repository } from "../../src/project/repository.ts";
import {
  AT_ONCE,
  backUp,
  CHUNK_BYTES,
  newRepository,
  noiseChunks,
  PROJECT,
  testContext,
  VOLUME,
} from "../kit/engine.ts";
import { data, memorySource, type TestDiff } from "../kit/memory_source.ts";

const CHUNKS = 8;
const DIFF: TestDiff = {
  to: "s1",
  sizeBytes: CHUNKS * CHUNK_BYTES,
  extents: [data(0, noiseChunks(...Array.from({ length: CHUNKS }, (_, i) => i)))],
};

let repository: Repository;
beforeAll(async () => {
  repository = await newRepository();
  await backUp(repository, [DIFF]);
  await backUp(repository, [{ ...DIFF, to: "s2" }]);
});

describe("verify()", () => {
  async function progressOf(sample: Sample): Promise<VerifyProgress[]> {
    const told: VerifyProgress[] = [];
    const onProgress = (progress: VerifyProgress) => void told.push({ ...progress });
    await verify(repository, { project: PROJECT, secrets: [], sample, onProgress }, testContext());
    return told;
  }

  test("counts points, then chunks of all that are to be read", async () => {
    const told = await progressOf({ kind: "all" });
    expect(told.slice(0, 2).map(({ points, expected }) => [points, expected])).toEqual([
      [1, undefined],
      [2, undefined],
    ]);
    expect(told.slice(2).map(({ chunks, expected }) => [chunks, expected])).toEqual(
      Array.from({ length: CHUNKS }, (_, i) => [i + 1, CHUNKS]),
    );
    expect(told.at(-1)!.bytes).toBeGreaterThan(CHUNKS * CHUNK_BYTES);
  });

  test("expects a share of them, and never less than it has read", async () => {
    const told = await progressOf({ kind: "share", share: 1 / 4, random: () => 0 });
    expect(told.slice(2).map(({ chunks, expected }) => [chunks, expected])).toEqual(
      Array.from({ length: CHUNKS }, (_, i) => [i + 1, Math.max(i + 1, CHUNKS / 4)]),
    );
  });
});

test("verifySource() counts chunks of all that the point has", async () => {
  const told: [number, number][] = [];
  await verifySource(repository, {
    ...{ project: PROJECT, volume: VOLUME, point: undefined, secrets: [], source: memorySource([DIFF]) },
    onProgress: ({ chunks, total }) => void told.push([chunks, total]),
  }, testContext());
  expect(told).toEqual(Array.from({ length: CHUNKS }, (_, i) => [i + 1, CHUNKS]));
});

test("gc() counts points, then parts of the listing", async () => {
  const told: GcProgress[] = [];
  const onProgress = (progress: GcProgress) => void told.push(progress);
  await gc(
    repository,
    { project: PROJECT, secrets: [], dryRun: false, ...AT_ONCE, onProgress },
    testContext(),
  );
  const listed = told.filter(({ shards }) => shards > 0);
  expect(told.slice(0, 2)).toEqual(
    [1, 2].map((points) => ({ points, shards: 0, ofShards: 256, deleted: 0 })),
  );
  expect(listed.map(({ points, shards }) => [points, shards])).toEqual(
    Array.from({ length: 256 }, (_, i) => [2, i + 1]),
  );
});

test("stats() counts objects, then pages of all that are to be read", async () => {
  const told: StatsProgress[] = [];
  const onProgress = (progress: StatsProgress) => void told.push({ ...progress });
  const { objects } = await stats(repository, { project: PROJECT, secrets: [], onProgress }, testContext());
  expect(told[0]).toEqual({ objects: 1, pages: 0, ofPages: undefined });
  const last = told.at(-1)!;
  expect(last).toEqual({ objects: objects - 2, pages: last.ofPages!, ofPages: expect.any(Number) });
});
