/** A project with patches, to those who count and remove its objects: stats, forget and gc, erase. */
import { beforeEach, describe, expect, test } from "bun:test";
import { erase } from "../../src/engine/erase/erase.ts";
import { surveyProject } from "../../src/engine/erase/survey.ts";
import { gc } from "../../src/engine/gc/gc.ts";
import type { Repository } from "../../src/project/repository.ts";
import { forgetPoint } from "../../src/engine/retention/forget.ts";
import { stats } from "../../src/engine/stats/stats.ts";
import {
  AT_ONCE,
  backUp,
  bytesOf,
  CHUNKS,
  keysOf,
  newRepository,
  noiseChunks,
  PROJECT,
  testContext,
  VOLUME,
} from "../kit/engine.ts";
import { data } from "../kit/memory_source.ts";
import { block, objectKey, placesOf, written } from "../kit/patches.ts";
const FIRST = noiseChunks(1, 2, 3);
const CHANGES = [block(0, 4, 100), block(1, 9, 200)];
const SECOND = written(FIRST, CHANGES);
const SIZE = FIRST.length;

let repository: Repository;
beforeEach(async () => {
  repository = await newRepository();
  await backUp(repository, [{ to: "a", sizeBytes: SIZE, extents: [data(0, FIRST)] }]);
  await backUp(repository, [{ from: "a", to: "b", sizeBytes: SIZE, extents: CHANGES }]);
});

const sizeOf = async (key: string) => (await repository.store.get(key)).length;

async function forgetAndCollect(point: string): Promise<string[]> {
  const before = await keysOf(repository.store, CHUNKS);
  const project = { project: PROJECT, secrets: [], dryRun: false };
  await forgetPoint(repository, { ...project, volume: VOLUME, point }, testContext());
  await gc(repository, { ...project, ...AT_ONCE }, testContext());
  const after = await keysOf(repository.store, CHUNKS);
  return before.filter((key) => !after.includes(key));
}

describe("gc() of a project with patches", () => {
  test("keeps what patches are over when the point that stored it is forgotten", async () => {
    // The first point's page, and nothing else: its chunks are under the second's patches.
    expect(await forgetAndCollect("a")).toHaveLength(1);
    expect(Buffer.compare(await bytesOf(repository), SECOND)).toBe(0);
  });

  test("removes patches with their point, and what they are over with the last of them", async () => {
    const places = await placesOf(repository);
    const patches = places.slice(0, 2).map((place) => objectKey(place!.object));
    expect(await forgetAndCollect("b")).toEqual(expect.arrayContaining(patches));
    expect(Buffer.compare(await bytesOf(repository), FIRST)).toBe(0);
    const bases = places.slice(0, 2).map((place) => objectKey(place!.base!));
    expect(await forgetAndCollect("a")).toEqual(expect.arrayContaining(bases));
    expect(await keysOf(repository.store, CHUNKS)).toEqual([]);
  });
});

describe("stats() of a project with patches", () => {
  test("counts them, and what they are over for all points that need it", async () => {
    const report = await stats(repository, { project: PROJECT, secrets: [] }, testContext());
    // Three whole chunks, two patches, two pages, two manifests.
    expect(report).toMatchObject({ points: 2, objects: 9, unreferenced_bytes: 0 });
    const alone = await forgetAndCollect("b");
    expect(alone).toHaveLength(3); // two patches and a page
    const left = await stats(repository, { project: PROJECT, secrets: [] }, testContext());
    expect(left).toMatchObject({ points: 1, objects: 5, unreferenced_bytes: 0 });
  });

  test("says of a point that forgetting it frees its patches", async () => {
    const options = { project: PROJECT, volume: VOLUME, secrets: [] };
    const { volumes } = await stats(repository, options, testContext());
    const [first, second] = volumes[0]!.backups!;
    const places = await placesOf(repository);
    const patchBytes = await sizeOf(objectKey(places[0]!.object)) +
      await sizeOf(objectKey(places[1]!.object));
    expect(second!.unique_bytes).toBeGreaterThan(patchBytes);
    expect(second!.unique_bytes).toBeLessThan(patchBytes + 4096); // its page and manifest
    expect(first!.unique_bytes).toBeLessThan(4096);
  });
});

describe("erase() of a project with patches", () => {
  test("leaves nothing", async () => {
    const survey = await surveyProject(repository, PROJECT, testContext());
    await erase(repository, { survey, overridden: [], by: "root@host", varve: "1" }, testContext());
    expect(await keysOf(repository.store, `projects/${PROJECT}/`)).toEqual([]);
  });
});
