/** Erasing a project: what goes, in which order, what is left of running work, and what a lock holds. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eraseCaches } from "../../../src/cache/erase_caches.ts";
import { lookOf, recordFile } from "../../../src/cache/file_record.ts";
import type { Clock, Context } from "../../../src/context.ts";
import { erase, type EraseReport, NOTICE_MS } from "../../../src/engine/erase/erase.ts";
import { surveyProject } from "../../../src/engine/erase/survey.ts";
import { LEASE_REFRESH_MS } from "../../../src/project/sharing/lease.ts";
import { createProject, listProjects } from "../../../src/project/open_project.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { versionPages } from "../../../src/store/versions.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { LOCKED_UNTIL_MS, VersionedStore } from "../../kit/versioned_store.ts";
import {
  backUp,
  bytesOf,
  emptyRepository,
  errorOf,
  KEYS,
  keysOf,
  LEASES,
  makeProject,
  newRepository,
  newStore,
  noiseChunks,
  PROJECT,
  testContext,
  through,
  VOLUME,
} from "../../kit/engine.ts";
import { data } from "../../kit/memory_source.ts";

const CONTENT = noiseChunks(1, 2, 3);
const PREFIX = `projects/${PROJECT}/`;

function volumeOf(bytes: Uint8Array) {
  return [{ to: "s1", sizeBytes: bytes.length, extents: [data(0, bytes)] }];
}

async function eraseProject(repository: Repository, context = testContext()): Promise<EraseReport> {
  const survey = await surveyProject(repository, PROJECT, context);
  return await erase(repository, { survey, overridden: [], by: "root@host", varve: "1" }, context);
}

/** Sleeps at once, but for the lease's refreshing, which goes on when the test lets it. */
class TestClock implements Clock {
  nowMs = 0;
  readonly slept: number[] = [];
  onSleep: (ms: number) => void | Promise<void> = () => {};
  now = () => this.nowMs;
  sleep = async (ms: number): Promise<void> => {
    this.slept.push(ms);
    await this.onSleep(ms);
  };
}

describe("erase()", () => {
  test("leaves nothing of the project and all of the others when nothing runs", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    await backUp(repository, volumeOf(CONTENT));
    await backUp(repository, volumeOf(CONTENT), { project: `${PROJECT}-2` });
    const others = (await keysOf(store, "")).filter((key) => !key.startsWith(PREFIX));
    const before = await Array.fromAsync(store.list(PREFIX));
    const report = await eraseProject(repository);
    expect(report).toMatchObject({
      project: PROJECT,
      listed_after: 0,
      deleted: {
        objects: before.length,
        bytes: before.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        delete_markers: 0,
        unfinished_uploads: 0,
      },
      keys: [expect.stringMatching(/^[0-9a-f]{16}$/)],
      volumes: [VOLUME],
      points: 1,
      leases: 0,
      locked: { objects: 0, keys: 0, until: null, named: [] },
    });
    expect(await keysOf(store, "")).toEqual(others);
    expect(await bytesOf(repository, { project: `${PROJECT}-2` })).toEqual(CONTENT);
  });

  test("deletes the keys before anything else", async () => {
    const store = new HookedStore(newStore());
    const repository = await newRepository(store);
    await backUp(repository, volumeOf(CONTENT));
    await eraseProject(repository);
    const deletes = store.keys("delete").filter((keys) => !keys.startsWith(LEASES));
    expect(deletes[0]).toStartWith(KEYS);
    expect(deletes[0]!.split(" ")).toHaveLength(1);
    expect(store.keys("get").filter((key) => key.startsWith(PREFIX) && !key.startsWith(KEYS))).toEqual([]);
  });

  test("deletes nothing, and says so, when there is no such project", async () => {
    const report = await eraseProject(await emptyRepository());
    expect(report).toMatchObject({ listed_after: 0, deleted: { objects: 0 }, keys: [] });
  });

  test("goes on where it was interrupted when it is run again", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    await backUp(repository, volumeOf(CONTENT));
    let deletes = 0;
    const failing = new HookedStore(store, {
      before: ({ op }) => {
        if (op === "delete" && ++deletes === 2) throw new Error("the line was cut");
      },
    });
    await eraseProject(through(repository, failing)).then(() => expect.unreachable(), () => {});
    expect(await keysOf(store, KEYS)).toEqual([]);
    expect(await keysOf(store, PREFIX)).not.toEqual([]);
    expect(await Array.fromAsync(listProjects(repository, testContext()))).toEqual([PROJECT]);
    expect((await eraseProject(repository)).listed_after).toBe(0);
    expect(await keysOf(store, PREFIX)).toEqual([]);
  });

  test("tells what is left when the store refuses to delete", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    await backUp(repository, volumeOf(CONTENT));
    const manifest = (await keysOf(store, `${PREFIX}volumes/`))[0]!;
    const refusing = new HookedStore(store, { refuse: (key) => key === manifest });
    const report = await eraseProject(through(repository, refusing));
    expect(report).toMatchObject({
      listed_after: 1,
      locked: {
        objects: 1,
        keys: 0,
        not_locked: 1,
        named: [{ key: manifest, until: null, legal_hold: false }],
      },
    });
    expect(await keysOf(store, PREFIX)).toEqual([manifest]);
  });
});

describe("erase() of a project that is made anew meanwhile", () => {
  /** Lets another host finish the erasure and make the project again, as soon as `when` is to be deleted. */
  async function setUp(when: string) {
    const store = newStore();
    const repository = await newRepository(store);
    await backUp(repository, volumeOf(CONTENT));
    let isMade = false;
    const hooked = new HookedStore(store, {
      before: async ({ op, key }) => {
        if (isMade || op !== "delete" || !key.startsWith(when)) return;
        isMade = true;
        await eraseProject(repository);
        await createProject(repository, { name: PROJECT, secret: undefined }, testContext());
        await backUp(repository, volumeOf(CONTENT));
      },
    });
    return { store, repository, hooked: through(repository, hooked) };
  }

  test.each([KEYS, `${PREFIX}chunks/`])(
    "deletes nothing of the new one, and says so, when %s goes",
    async (when) => {
      const { store, repository, hooked } = await setUp(when);
      const { code, message } = await errorOf(eraseProject(hooked));
      expect({ code, message }).toEqual({
        code: "conflict",
        message: expect.stringContaining("the project was created again while it was being erased"),
      });
      expect(await bytesOf(repository)).toEqual(CONTENT);
      expect(await keysOf(store, KEYS)).toHaveLength(1);
    },
  );

  test("nor does it by what the operator was shown before", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    await backUp(repository, volumeOf(CONTENT));
    const survey = await surveyProject(repository, PROJECT, testContext());
    await eraseProject(repository);
    await makeProject(repository);
    await backUp(repository, volumeOf(CONTENT));
    const options = { survey, overridden: [], by: "root@host", varve: "1" };
    expect((await errorOf(erase(repository, options, testContext()))).code).toBe("conflict");
    expect(await bytesOf(repository)).toEqual(CONTENT);
  });

  test("and finishes what an erasure has left that was ended behind the keys", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    await backUp(repository, volumeOf(CONTENT));
    await store.delete(await keysOf(store, KEYS));
    const report = await eraseProject(repository);
    expect(report).toMatchObject({ keys: [], volumes: [VOLUME], points: 1, listed_after: 0 });
    expect(await keysOf(store, PREFIX)).toEqual([]);
  });
});

describe("erase() on a versioned store", () => {
  const allTraces = async (store: VersionedStore) =>
    (await Array.fromAsync(versionPages(store.history, PREFIX, {}))).flatMap(({ traces }) => traces);

  test("removes old versions and delete markers, whatever the size of a page", async () => {
    for (const pageTraces of [1, 2, 3, 7, 1000]) {
      const store = new VersionedStore({ pageTraces });
      const repository = await newRepository(store);
      for (let i = 0; i < 2; i++) await backUp(repository, volumeOf(CONTENT));
      expect((await allTraces(store)).some(({ kind }) => kind === "marker")).toBe(true); // of the leases
      const report = await eraseProject(repository);
      expect(report.listed_after).toBe(0);
      expect(report.deleted.delete_markers).toBeGreaterThan(0);
      expect(await allTraces(store)).toEqual([]);
    }
  });

  test("hides what a lock holds, tells until when, and finishes once that has ended", async () => {
    for (const pageTraces of [1, 2, 1000]) {
      let isLocked = true;
      const store = new VersionedStore({ pageTraces, isLocked: (key) => isLocked && !key.startsWith(KEYS) });
      const repository = await newRepository(store);
      await backUp(repository, volumeOf(CONTENT));
      const until = new Date(LOCKED_UNTIL_MS).toISOString();
      for (let run = 0; run < 2; run++) {
        const report = await eraseProject(repository);
        const held = (await allTraces(store)).filter(({ kind }) => kind === "version");
        expect(report).toMatchObject({ locked: { objects: held.length, keys: 0, until } });
        expect(report.locked.named[0]).toMatchObject({ until, legal_hold: false });
        expect(await keysOf(store, PREFIX)).toEqual([]);
      }
      isLocked = false;
      expect((await eraseProject(repository)).listed_after).toBe(0);
      expect(await allTraces(store)).toEqual([]);
    }
  });

  test("never shows a locked object again while it works, wherever a page ends", async () => {
    for (const pageTraces of [1, 2, 3, 1000]) {
      const isLocked = (key: string) => key.startsWith(`${PREFIX}chunks/`);
      const store = new VersionedStore({ pageTraces, isLocked });
      const repository = await newRepository(store);
      await backUp(repository, volumeOf(CONTENT));
      await eraseProject(repository);
      const { remove } = store.history;
      store.history.remove = async (...args) => {
        const left = await remove(...args);
        expect(await keysOf(store, PREFIX)).toEqual([]);
        return left;
      };
      expect((await eraseProject(repository)).listed_after).toBeGreaterThan(0);
    }
  });

  test("says that the key is among what is left when it is locked", async () => {
    const store = new VersionedStore({ isLocked: (key) => key.startsWith(KEYS) });
    const repository = await newRepository(store);
    await backUp(repository, volumeOf(CONTENT));
    expect(await eraseProject(repository)).toMatchObject({ locked: { objects: 1, keys: 1 } });
    const { code, message } = await errorOf(bytesOf(repository));
    expect({ code, message }).toEqual({
      code: "not_found",
      message: expect.stringContaining("it does not exist"),
    });
  });
});

describe("erase() beside running work", () => {
  /** A backup that stands still in the middle of its stream until `resume`. */
  function slowBackup(repository: Repository, context: Context) {
    const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
    const { promise: resumed, resolve: resume } = Promise.withResolvers<void>();
    const diff = {
      fromSnapshot: undefined,
      toSnapshot: undefined,
      sizeBytes: CONTENT.length,
      async *extents() {
        const half = CONTENT.length / 3;
        for (const from of [0, half, 2 * half]) {
          if (from === half) reach();
          if (from === half) await resumed;
          const bytes = CONTENT.subarray(from, from + half);
          yield {
            kind: "data" as const,
            offset: from,
            length: half,
            read: async (into: Uint8Array) => into.set(bytes.subarray(0, into.length)),
          };
        }
      },
    };
    const source = {
      name: "slow",
      bytesRead: 0,
      async *diffs() {
        yield diff;
      },
      close: async () => {},
    };
    return { reached, resume, done: backUp(repository, source, { context }) };
  }

  test("a backup that notices uploads nothing more, and nothing of it is left", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    const { promise: refreshed, resolve: refresh } = Promise.withResolvers<void>();
    const work = new TestClock();
    let isFirst = true;
    work.onSleep = (ms) => {
      if (ms !== LEASE_REFRESH_MS || !isFirst) return new Promise(() => {});
      isFirst = false;
      return refreshed;
    };
    const writes: string[] = [];
    const watched = new HookedStore(store, {
      after: ({ op, key }) => void (op === "put" && writes.push(key)),
    });
    const backup = slowBackup(through(repository, watched), testContext({ clock: work }));
    backup.done.catch(() => {});
    await backup.reached;
    const clock = new TestClock();
    clock.onSleep = async (ms) => {
      expect(ms).toBe(NOTICE_MS);
      refresh();
      await Bun.sleep(0);
      writes.length = 0;
      backup.resume();
      const { code, message } = await errorOf(backup.done);
      expect({ code, message }).toEqual({
        code: "conflict",
        message: expect.stringContaining("has expired"),
      });
    };
    const report = await eraseProject(repository, testContext({ clock }));
    expect(clock.slept).toEqual([NOTICE_MS]);
    expect(report).toMatchObject({ listed_after: 0, leases: 1 });
    expect(writes).toEqual([]);
    expect(await keysOf(store, PREFIX)).toEqual([]);
  });

  test("what a backup uploads before it notices goes too, and it commits nothing", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    const backup = slowBackup(repository, testContext());
    backup.done.catch(() => {});
    await backup.reached;
    const clock = new TestClock();
    clock.onSleep = async () => {
      backup.resume();
      expect((await errorOf(backup.done)).code).toBe("conflict");
      expect(await keysOf(store, PREFIX)).not.toEqual([]);
    };
    expect(await eraseProject(repository, testContext({ clock }))).toMatchObject({
      listed_after: 0,
      leases: 1,
    });
    expect(await keysOf(store, PREFIX)).toEqual([]);
  });

  test("a backup whose project is erased before its lease is written uploads nothing", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    let isErased = false;
    const hooked = new HookedStore(store, {
      before: async ({ op, key }) => {
        if (op !== "put" || !key.startsWith(LEASES) || isErased) return;
        isErased = true;
        expect(await eraseProject(repository)).toMatchObject({ listed_after: 0, leases: 0 });
      },
    });
    const { code, message } = await errorOf(backUp(through(repository, hooked), volumeOf(CONTENT)));
    expect({ code, message }).toEqual({
      code: "conflict",
      message: expect.stringContaining("has been erased"),
    });
    expect(await keysOf(store, PREFIX)).toEqual([]);
  });

  test("fails with conflict when work keeps being started", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    const clock = new TestClock();
    const begin = () => store.put(`${LEASES}${"ab".repeat(16)}`, new Uint8Array(1));
    clock.onSleep = begin;
    await begin();
    const { code } = await errorOf(eraseProject(repository, testContext({ clock })));
    expect(code).toBe("conflict");
  });

  test("does not wait for a lease that the store would not delete", async () => {
    const store = newStore();
    const repository = await newRepository(store);
    await store.put(`${LEASES}${"ab".repeat(16)}`, new Uint8Array(1));
    const refusing = new HookedStore(store, { refuse: (key) => key.startsWith(LEASES) });
    const clock = new TestClock();
    const report = await eraseProject(through(repository, refusing), testContext({ clock }));
    expect(report).toMatchObject({ leases: 0, locked: { objects: 1 } });
    expect(clock.slept).toEqual([]);
  });
});

describe("eraseCaches()", () => {
  const root = mkdtempSync(join(tmpdir(), "varve-erase-"));
  afterAll(() => rmSync(root, { recursive: true }));

  test("removes a project's folder and its file records, and leaves those of others", async () => {
    const repository = await newRepository();
    const place = (project: string) => ({ root, repositoryId: repository.id, project });
    const context = testContext({ cacheRoot: root });
    for (const project of [PROJECT, "other"]) {
      await backUp(repository, volumeOf(CONTENT), { project, context });
      const file = join(root, `${project}.img`);
      await Bun.write(file, project);
      const content = {
        repository: repository.id,
        project,
        volume: "v",
        backup: "20260101T000000000Z-00000000",
      };
      await recordFile({ ...place(project), key: new Uint8Array(32) }, file, {
        known: (await lookOf(file))!,
        content,
      });
    }
    await Bun.write(join(join(root, "files"), "damaged"), "x");
    expect(existsSync(join(root, repository.id, PROJECT))).toBe(true);
    await eraseProject(repository, context);
    expect(existsSync(join(root, repository.id, PROJECT))).toBe(false);
    expect(existsSync(join(root, repository.id, "other"))).toBe(true);
    expect(readdirSync(join(root, "files"))).toHaveLength(1);
    await eraseCaches(root, { repository: repository.id, project: "other" });
    expect(readdirSync(join(root, "files"))).toEqual([]);
    await eraseCaches(join(root, "none"), { repository: repository.id, project: PROJECT });
  });
});
