/** What a backup is dated, and what `latest`, `~N` and times mean, after the store's clock was wrong. */
import { describe, expect, test } from "bun:test";
import { findBackup } from "../../../src/project/find_backup.ts";
import { listBackups, showBackup } from "../../../src/project/catalog.ts";
import { forgetPoint } from "../../../src/engine/retention/forget.ts";
import { openProject } from "../../../src/project/open_project.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import {
  backUp,
  bytesOf,
  errorOf,
  keysOf,
  MANIFESTS,
  newRepository,
  noiseChunks,
  PROJECT,
  testContext,
  VOLUME,
} from "../../kit/engine.ts";
import { data } from "../../kit/memory_source.ts";

/** A repository in a store whose clock a test sets. */
async function setUp() {
  let now = Date.UTC(2026, 0, 1);
  const store = new MemoryStore({ now: () => now });
  const repository = await newRepository(store);
  const warnings: string[] = [];
  const { log } = testContext();
  const context = testContext({ log: { ...log, warn: (_, text) => void warnings.push(text) } });
  /** Backs up in that year, and says the new id. */
  const take = async (
    year: number,
    seed: number,
    { content = seed, ...source }: { from?: string; to?: string; content?: number } = {},
  ) => {
    now = Date.UTC(year, 0, 1, 0, 0, seed);
    const bytes = noiseChunks(content);
    const diff = { ...source, sizeBytes: bytes.length, extents: [data(0, bytes)] };
    const [report] = await backUp(repository, [diff], { context });
    return report!.backup;
  };
  return { store, repository, warnings, take };
}

async function point(repository: Repository, point: string): Promise<string> {
  const project = await openProject(
    repository,
    { name: PROJECT, secrets: [] },
    testContext(),
  );
  return await findBackup(project, { volume: VOLUME, point }, testContext());
}

describe("backup() after the store's clock was in 2030 once", () => {
  test("is dated right, named in a warning, and latest, ~N and times are right", async () => {
    const { repository, warnings, take } = await setUp();
    const first = await take(2026, 1);
    const wrong = await take(2030, 2);
    expect(warnings).toEqual([]);
    const second = await take(2026, 3);
    const third = await take(2027, 4);
    expect([wrong, second, third].map((id) => id.slice(0, 4))).toEqual(["2030", "2026", "2027"]);
    const state = "is dated in the future by the store's clock; it is ignored in the order";
    expect(warnings).toEqual([`"acme/rbd/vm-1@${wrong}" ${state}`, `"acme/rbd/vm-1@${wrong}" ${state}`]);
    const points = ["latest", "~1", "~2", "2026-12-31", "2027-06-01", "2031-01-01", wrong];
    const expected = [third, second, first, second, third, third, wrong];
    expect(await Promise.all(points.map((text) => point(repository, text)))).toEqual(expected);
    expect(Buffer.compare(await bytesOf(repository), noiseChunks(4))).toBe(0);
  });

  test("is as if nothing had been once the wrong point is forgotten", async () => {
    const { repository, warnings, take } = await setUp();
    const first = await take(2026, 1);
    const wrong = await take(2030, 2);
    const second = await take(2026, 3);
    const options = { project: PROJECT, volume: VOLUME, point: wrong, dryRun: false, secrets: [] };
    await forgetPoint(repository, options, testContext());
    warnings.length = 0;
    const third = await take(2027, 4);
    expect(warnings).toEqual([]);
    const points = ["latest", "~1", "~2", "2026-12-31"];
    expect(await Promise.all(points.map((text) => point(repository, text)))).toEqual([
      third,
      second,
      first,
      second,
    ]);
  });

  test("goes on from the right base when both have its snapshot", async () => {
    const { repository, take } = await setUp();
    await take(2026, 1, { to: "a", content: 1 });
    await take(2030, 2, { to: "a", content: 1 });
    const base = await take(2026, 3, { to: "a", content: 1 });
    const next = await take(2026, 4, { from: "a", to: "b" });
    const key = (await keysOf(repository.store, MANIFESTS)).find((key) => key.endsWith(next));
    expect(key).toBeDefined();
    expect(await point(repository, "a")).toBe(base);
    expect(await baseOf(repository, next)).toBe(base);
  });
});

describe("backup() after the store's clock was put back to 2020", () => {
  test("is the latest, and the others keep their places once the clock is right again", async () => {
    const { repository, take } = await setUp();
    const [first, second] = [await take(2025, 1), await take(2026, 2)];
    const old = await take(2020, 3);
    expect(old.slice(0, 4)).toBe("2020");
    expect(await point(repository, "latest")).toBe(old);
    const third = await take(2027, 4);
    const points = ["latest", "~1", "~2", "2026-06-01", old];
    expect(await Promise.all(points.map((text) => point(repository, text)))).toEqual([
      third,
      second,
      first,
      second,
      old,
    ]);
  });
});

describe("backup() beside a name that nobody has sealed", () => {
  test.each(["99991231T235959999Z-00000000", "21990101T000000000Z-00000000", "20250101T000000000Z-00000000"])(
    "is dated by the store's clock, and is listed: %s",
    async (name) => {
      const { store, repository, take } = await setUp();
      await take(2026, 1, { to: "a" });
      await store.put(MANIFESTS + `${VOLUME}/${name}`, new TextEncoder().encode("garbage"));
      const next = await take(2026, 2, { from: "a", to: "b" });
      expect(next.slice(0, 4)).toBe("2026");
      const problems: string[] = [];
      const context = testContext({ onProblem: ({ message }) => void problems.push(message) });
      const listed = await listBackups(repository, { project: PROJECT, secrets: [] }, context);
      expect(listed.map(({ backup }) => backup).at(-1)).toBe(next);
      expect(problems).toEqual([expect.stringContaining(name)]);
    },
  );

  test("is refused when the store's clock has a year that no id can hold, and nothing is stored", async () => {
    const { store, take } = await setUp();
    const error = await errorOf(take(10_000, 1));
    expect([error.code as string, error.message]).toEqual([
      "failed",
      expect.stringContaining("the clock of the store is wrong"),
    ]);
    expect(await keysOf(store, MANIFESTS)).toEqual([]);
  });
});

async function baseOf(repository: Repository, backup: string): Promise<string | null> {
  const options = { project: PROJECT, volume: VOLUME, point: backup, secrets: [] };
  return (await showBackup(repository, options, testContext())).base;
}
