/** Which point an increment continues: names, ids, and where they do not tell. */
import { describe, expect, test } from "bun:test";
import { backup, type BackupReport } from "../../../src/engine/backup/backup.ts";
import { Lease } from "../../../src/project/sharing/lease.ts";
import { openProject } from "../../../src/project/open_project.ts";
import type { Repository } from "../../../src/project/repository.ts";
import type { SourceIds } from "../../../src/format/source_ids.ts";
import { identified } from "../../../src/sources/identified.ts";
import type { Source, VolumeState } from "../../../src/sources/source.ts";
import {
  bytesOf,
  errorOf,
  MANIFESTS,
  newRepository,
  noiseChunks,
  PROJECT,
  testContext,
  VOLUME,
} from "../../kit/engine.ts";
import { data, memorySource, type TestDiff } from "../../kit/memory_source.ts";

interface Taken {
  ids?: SourceIds;
  /** The point that the operator names. */
  base?: string;
  volume?: string;
}

async function setUp() {
  const warnings: string[] = [];
  const { log } = testContext();
  const context = testContext({ log: { ...log, warn: (_, text) => void warnings.push(text) } });
  const repository = await newRepository();
  const take = async (diffs: TestDiff[], { ids = {}, base, volume = VOLUME }: Taken = {}) => {
    const source = identified(memorySource(diffs), ids);
    const options = { project: PROJECT, volume, source, secrets: [], tags: [], base };
    return await backup(repository, options, context);
  };
  const one = async (diff: TestDiff, taken?: Taken): Promise<BackupReport> => (await take([diff], taken))[0]!;
  return { repository, warnings, take, one };
}

/** A full stream of a snapshot; another seed is other content. */
function full(to: string | undefined, seed: number): TestDiff {
  const bytes = noiseChunks(seed, seed + 1);
  return { to, sizeBytes: bytes.length, extents: [data(0, bytes)] };
}

/** Nothing changed: the point is as its base. */
function since(from: string, to?: string): TestDiff {
  return { from, to, sizeBytes: noiseChunks(1, 2).length, extents: [] };
}

async function expectContent(repository: Repository, seed: number): Promise<void> {
  expect(Buffer.compare(await bytesOf(repository), noiseChunks(seed, seed + 1))).toBe(0);
}

describe("an increment without ids", () => {
  test("is refused where two points have its snapshot's name and differ, with both of them", async () => {
    const { one } = await setUp();
    const points = [await one(full("a", 1)), await one(full("a", 3))].map(({ backup }) => backup);
    const error = await errorOf(one(since("a")));
    expect(error).toMatchObject({ code: "conflict" });
    expect(error.message).toBe(
      `Cannot back up "${PROJECT}/${VOLUME}": the stream starts at snapshot "a", but there are different restore points of that name: ` +
        `${points[1]}, ${
          points[0]
        }; choose one of these ids with --base, or export without --from-snap for a full backup`,
    );
  });

  test("is refused where --base gives nothing but that name", async () => {
    const { one } = await setUp();
    const [first] = [await one(full("a", 1)), await one(full("a", 3))];
    for (const base of ["a", "snap:a"]) {
      expect(await errorOf(one(since("a"), { base }))).toMatchObject({
        code: "conflict",
        message: expect.stringContaining(`${first!.backup}; choose one of these ids with --base`),
      });
    }
    await one(full("b", 1));
    expect((await one(since("b"), { base: "b" })).base).not.toBeNull();
  });

  test("is refused where they differ in size alone", async () => {
    const { one } = await setUp();
    for (const sizeBytes of [1000, 2000]) await one({ to: "a", sizeBytes, extents: [] });
    expect(await errorOf(one(since("a")))).toMatchObject({ code: "conflict" });
  });

  test.each([[0, 1], [1, 3]])("continues the one that --base names, number %d of two", async (at, seed) => {
    const { repository, one } = await setUp();
    const points = [await one(full("a", 1)), await one(full("a", 3))];
    expect((await one(since("a", "b"), { base: points[at]!.backup })).base).toBe(points[at]!.backup);
    await expectContent(repository, seed);
  });

  test("goes on from the newest of points that hold the same", async () => {
    const { one } = await setUp();
    await one(full("a", 1));
    const again = await one(full("a", 1));
    await one(full("b", 3));
    expect((await one(since("a"))).base).toBe(again.backup);
  });

  test("needs no --base in a stream that holds its own beginning", async () => {
    const { repository, one, take } = await setUp();
    await one(full("a", 5));
    const reports = await take([full("a", 1), since("a", "b")]);
    expect(reports[1]!.base).toBe(reports[0]!.backup);
    await expectContent(repository, 1);
  });

  test("may go on from a point that has ids", async () => {
    const { one } = await setUp();
    const base = await one(full("a", 1), { ids: { source_id: "x", source_snapshot_id: "1" } });
    expect(await one(since("a", "b"))).toMatchObject({ base: base.backup, source_id: null });
  });
});

describe("--base", () => {
  test("is refused where it is of another snapshot", async () => {
    const { one } = await setUp();
    await one(full("a", 1));
    const other = await one(full("b", 3));
    const error = await errorOf(one(since("a"), { base: "latest" }));
    expect(error).toMatchObject({ code: "conflict" });
    expect(error.message).toContain(
      `"${PROJECT}/${VOLUME}@${other.backup}" was made from another one; choose another base`,
    );
  });

  test("is a wrong use with a full stream, and not found where there is no such point", async () => {
    const { one } = await setUp();
    await one(full("a", 1));
    expect(await errorOf(one(full("b", 1), { base: "a" }))).toMatchObject({ code: "usage" });
    expect(await errorOf(one(since("a"), { base: "nope" }))).toMatchObject({ code: "not_found" });
  });

  test("is damage where it cannot be read", async () => {
    const { repository, one } = await setUp();
    const { backup } = await one(full("a", 1));
    await one(full("a", 3));
    await repository.store.put(`${MANIFESTS}${VOLUME}/${backup}`, new Uint8Array(500), testContext());
    expect(await errorOf(one(since("a"), { base: backup }))).toMatchObject({ code: "damage" });
  });
});

describe("an increment with ids", () => {
  const X1 = { source_id: "x", source_snapshot_id: "1" };

  test.each<[string, SourceIds, string]>([
    ["of another source", { source_id: "y" }, 'another source (id "x", not "y")'],
    ["of another snapshot", { from_snapshot_id: "2" }, 'another snapshot (id "1", not "2")'],
    [
      "of another source's snapshot",
      { source_id: "y", from_snapshot_id: "1" },
      'another source (id "x", not "y")',
    ],
  ])("is refused where the point of that name is %s", async (_, ids, says) => {
    const { one } = await setUp();
    const { backup } = await one(full("a", 1), { ids: X1 });
    for (const base of [undefined, backup]) {
      const error = await errorOf(one(since("a"), { ids, ...base === undefined ? {} : { base } }));
      expect(error).toMatchObject({ code: "conflict" });
      expect(error.message).toContain(
        `the stream starts at snapshot "a", but the restore point of that name, ${backup}, was made from ${says}; export without --from-snap`,
      );
    }
  });

  test("is kept with them, and so are those of a full one", async () => {
    const { one } = await setUp();
    expect(await one(full("a", 1), { ids: X1 })).toMatchObject({ ...X1, from_snapshot_id: null });
    const ids = { source_id: "x", source_snapshot_id: "2", from_snapshot_id: "1" };
    expect(await one(since("a", "b"), { ids })).toMatchObject(ids);
  });

  test("goes on from the right one of several of that name, and not from a newer one without ids", async () => {
    const { repository, one } = await setUp();
    const right = await one(full("a", 1), { ids: X1 });
    await one(full("a", 3), { ids: { source_id: "x", source_snapshot_id: "2" } });
    await one(full("a", 5), { ids: { source_id: "y", source_snapshot_id: "1" } });
    await one(full("a", 7));
    const ids = { source_id: "x", from_snapshot_id: "1" };
    expect((await one(since("a", "b"), { ids })).base).toBe(right.backup);
    await expectContent(repository, 1);
  });

  test("is refused where only the source's id tells, and points of it differ", async () => {
    const { one } = await setUp();
    await one(full("a", 1), { ids: { source_id: "x" } });
    await one(full("a", 3), { ids: { source_id: "y" } });
    await one(full("a", 5), { ids: { source_id: "x" } });
    expect(await errorOf(one(since("a"), { ids: { source_id: "x" } }))).toMatchObject({ code: "conflict" });
    expect(await one(since("a"), { ids: { source_id: "y" } })).toMatchObject({ source_id: "y" });
  });

  test("goes on from a point of which no id is known", async () => {
    const { one } = await setUp();
    const base = await one(full("a", 1));
    const ids = { source_id: "x", source_snapshot_id: "2", from_snapshot_id: "1" };
    expect(await one(since("a", "b"), { ids })).toMatchObject({ base: base.backup, ...ids });
  });

  test("is a wrong use with ids of a snapshot where there are several, or none", async () => {
    const { one, take } = await setUp();
    const ids = { source_id: "x", source_snapshot_id: "1" };
    const several = [full("a", 1), since("a", "b")];
    expect(await errorOf(take(several, { ids }))).toMatchObject({ code: "usage" });
    expect(await errorOf(one(full("a", 1), { ids: { from_snapshot_id: "1" } }))).toMatchObject({
      code: "usage",
    });
    const reports = await take(several, { ids: { source_id: "x" } });
    expect(reports.map(({ source_id }) => source_id)).toEqual(["x", "x"]);
  });
});

describe("a snapshot's name that an older point has", () => {
  const says = (names: string) =>
    `"${PROJECT}/${VOLUME}" already has restore points of snapshots named ${names}; an incremental stream from such a ` +
    "name may need --base";

  test("is said, and the point is committed", async () => {
    const { warnings, one, take } = await setUp();
    await one(full("a", 1));
    await one(full(undefined, 1));
    await one(full("b", 1));
    expect(warnings).toEqual([]);
    await one(full("a", 3));
    await take([full("a", 3), since("a", "b"), since("b", "c")]);
    expect(warnings).toEqual([says('"a"'), says('"a", "b"')]);
  });

  test("is not where its snapshot's id tells it from others, nor in another volume", async () => {
    const { warnings, one } = await setUp();
    const ids = { source_id: "x", source_snapshot_id: "1" };
    await one(full("a", 1), { ids });
    await one(full("a", 1), { ids });
    await one(full("a", 3), { volume: "other" });
    expect(warnings).toEqual([]);
    await one(full("a", 3), { ids: { ...ids, source_snapshot_id: "2" } });
    expect(warnings).toEqual([]);
    await one(full("a", 3), { ids: { source_id: "x" } });
    expect(warnings).toEqual([says('"a"')]);
  });

  test("is not where nothing was committed", async () => {
    const { repository, warnings, one } = await setUp();
    await one(full("a", 1));
    const failing = memorySource([full("a", 3)], () => {
      throw new Error("cut");
    });
    const options = { project: PROJECT, volume: VOLUME, source: failing, secrets: [], tags: [] };
    await expect(backup(repository, options, testContext())).rejects.toThrow("cut");
    expect(warnings).toEqual([]);
  });
});

describe("a source that chooses its own base", () => {
  /** Tells what it was told, and when. */
  function chooser(diffs: TestDiff[], told: unknown[], atEnd?: () => void): Source {
    return {
      ...memorySource(diffs, atEnd),
      prepare: (state: VolumeState) => Promise.resolve(void told.push(state)),
      committed: (state) => Promise.resolve(void told.push(state)),
    };
  }

  test("is told of the volume's points, newest first, and in the end that it is alone", async () => {
    const { repository, one } = await setUp();
    const first = await one(full("a", 1), { ids: { source_id: "x" } });
    const second = await one(full("b", 1));
    const told: unknown[] = [];
    const options = { project: PROJECT, volume: VOLUME, secrets: [], tags: [] };
    await backup(repository, { ...options, source: chooser([full("c", 1)], told) }, testContext());
    expect(told).toEqual([
      {
        id: `${repository.id}/${PROJECT}/${VOLUME}`,
        points: [
          { backup: second.backup, to_snapshot: "b", source_id: undefined, source_snapshot_id: undefined },
          { backup: first.backup, to_snapshot: "a", source_id: "x", source_snapshot_id: undefined },
        ],
      },
      { isAlone: true },
    ]);
  });

  test.each([
    ["another host's", "other", VOLUME, false],
    ["another host's of another volume", "other", "else", true],
    ["a process of this number that ended", testContext().host, VOLUME, true],
  ])("is told whether it is alone beside the lease of %s", async (_, host, volume, isAlone) => {
    const { repository, one } = await setUp();
    await one(full("a", 1));
    const context = testContext();
    const project = await openProject(
      repository,
      { name: PROJECT, secrets: [] },
      context,
    );
    const lease = await Lease.begin(
      project,
      { work: "backup", volume },
      testContext({ host }),
    );
    const told: unknown[] = [];
    const options = { project: PROJECT, volume: VOLUME, secrets: [], tags: [] };
    await backup(repository, { ...options, source: chooser([full("b", 1)], told) }, context);
    expect(told[1]).toEqual({ isAlone });
    await lease.end();
  });

  test("is told of nothing committed where nothing was", async () => {
    const { repository } = await setUp();
    const told: unknown[] = [];
    const source = chooser([full("c", 1)], told, () => {
      throw new Error("cut");
    });
    const options = { project: PROJECT, volume: VOLUME, secrets: [], tags: [], source };
    await expect(backup(repository, options, testContext())).rejects.toThrow("cut");
    expect(told).toHaveLength(1);
  });
});
