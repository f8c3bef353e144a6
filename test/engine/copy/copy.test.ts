/** Copying points into a second repository: what goes, what is verified, and how the gc of the second is obeyed. */
import { beforeEach, describe, expect, test } from "bun:test";
import { copyKeys } from "../../../src/engine/copy/copy_target.ts";
import { copy, type CopyOptions, type CopyReport } from "../../../src/engine/copy/copy.ts";
import { listBackups } from "../../../src/project/catalog.ts";
import { openProject } from "../../../src/project/open_project.ts";
import { createKey } from "../../../src/project/project_keys.ts";
import { openRepository, type Repository } from "../../../src/project/repository.ts";
import { StoreError } from "../../../src/errors.ts";
import { decodeCheckedJson } from "../../../src/format/checked_json.ts";
import { PLANS_PREFIX } from "../../../src/format/layout.ts";
import type { MemoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
import { flipBit } from "../../kit/damage.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  emptyRepository,
  errorOf,
  KEYS,
  keysOf,
  LEASES,
  makeProject,
  MANIFESTS,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  PROJECT,
  testContext,
  through,
} from "../../kit/engine.ts";
import { HookedStore, type StoreHooks } from "../../kit/hooked_store.ts";
import { data } from "../../kit/memory_source.ts";
import { chunkKeys, condemn } from "../../kit/plans.ts";
/** For tests of many copies, each with its worker threads, on a busy machine. */
const LIMIT_MS = 60_000;
const SECOND_VOLUME = "rbd/vm-2";

let source: Repository;
let to: MemoryStore;

beforeEach(async () => {
  source = await newRepository();
  await emptyRepository(to = newStore());
});

async function copyTo(target: Store, options: Partial<CopyOptions> = {}, from = source): Promise<CopyReport> {
  return await copy(from, { project: PROJECT, secrets: [], to: target, ...options }, testContext());
}

/** A full backup of these bytes, and the point's id. */
async function point(bytes: Uint8Array, to = "s1", options: { volume?: string; from?: string } = {}) {
  const diff = { to, from: options.from, sizeBytes: bytes.length, extents: [data(0, bytes)] };
  return (await backUp(source, [diff], options))[0]!.backup;
}

async function second(): Promise<Repository> {
  return await openRepository(to, testContext());
}

async function objects(store: Store, prefix: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const key of await keysOf(store, prefix)) {
    found.set(key, Buffer.from(await store.get(key)).toString("hex"));
  }
  return found;
}

describe("copy()", () => {
  test("brings every point to the second repository: it is there under its id and restores", async () => {
    const contents = [noiseChunks(1, 2, 3), noiseChunks(1, 9, 3), noiseChunks(5)];
    const points = [await point(contents[0]!), await point(contents[1]!, "s2")];
    await point(contents[2]!, "t1", { volume: SECOND_VOLUME });
    const report = await copyTo(to);
    expect(report).toMatchObject({
      ...{ project: PROJECT, to: "memory:", damaged: [] },
      points: { copied: 3, present: 0, damaged: 0, forgotten: 0 },
    });
    const target = await second();
    expect(target.chunkBytes).toBe(CHUNK_BYTES);
    expect(target.id).not.toBe(source.id);
    expect(await listBackups(target, { project: PROJECT, secrets: [] }, testContext())).toEqual(
      await listBackups(source, { project: PROJECT, secrets: [] }, testContext()),
    );
    for (const [i, backup] of points.entries()) {
      expect(await bytesOf(target, { point: backup })).toEqual(contents[i]!);
    }
    expect(await bytesOf(target, { volume: SECOND_VOLUME })).toEqual(contents[2]!);
    expect(await keysOf(to, LEASES)).toEqual([]);
  });

  test("copies chunks and pages byte for byte, and what is wrapped in keys", async () => {
    await point(noiseChunks(1, 2, 3));
    const report = await copyTo(to);
    const chunks = await objects(to, CHUNKS);
    expect(chunks).toEqual(await objects(source.store, CHUNKS));
    const keyOf = async (store: Store) => {
      const [key] = await keysOf(store, KEYS);
      return decodeCheckedJson(await store.get(key!), key!);
    };
    const [here, there] = [await keyOf(source.store), await keyOf(to)];
    expect({ ...there, repository: 0, repository_mac: 0 }).toEqual({
      ...here,
      repository: 0,
      repository_mac: 0,
    });
    expect([here.repository, there.repository]).toEqual([source.id, (await second()).id]);
    expect(report.objects).toEqual({ copied: chunks.size, present: 0 });
    expect(report.copied_bytes).toBe([...chunks.values()].reduce((sum, hex) => sum + hex.length / 2, 0));
  });

  test("keeps the suffix of a key that has one", async () => {
    await point(noiseChunks(1, 2));
    await condemn(source, await chunkKeys(source));
    await point(noiseChunks(1, 2), "s2");
    await copyTo(to, { volume: "rbd/vm-1", point: "latest" });
    const names = await keysOf(to, CHUNKS);
    expect(names.filter((name) => /\.[0-9a-f]{32}$/.test(name))).toHaveLength(2); // the page is another one
    expect(await keysOf(source.store, CHUNKS)).toEqual(expect.arrayContaining(names));
    expect(names).toHaveLength(3);
    expect(await bytesOf(await second())).toEqual(noiseChunks(1, 2));
  });

  test("copies nothing, and asks for nothing but the points, when all are there", async () => {
    await point(noiseChunks(1, 2, 3));
    await copyTo(to);
    const before = await objects(to, "");
    const watched = new HookedStore(to);
    const report = await copyTo(watched);
    expect(report).toMatchObject({ points: { copied: 0, present: 1 }, objects: { copied: 0, present: 0 } });
    expect(await objects(to, "")).toEqual(before);
    expect(watched.keys("head").filter((key) => key.startsWith(CHUNKS))).toEqual([]);
    expect(watched.keys("get").filter((key) => !key.startsWith(KEYS))).toEqual(["varve.json"]);
  });

  test("asks only for what differs from the point before it when that is there", async () => {
    const bytes = noiseChunks(1, 2, 3, 4, 5, 6);
    await point(bytes);
    await copyTo(to);
    bytes.set(noise(77, CHUNK_BYTES), 2 * CHUNK_BYTES);
    await point(bytes, "s2");
    await point(bytes, "s3"); // its pages are those of s2
    const fetched = new HookedStore(source.store);
    const watched = new HookedStore(to);
    const report = await copyTo(watched, {}, through(source, fetched));
    expect(report).toMatchObject({ points: { copied: 2, present: 1 }, objects: { copied: 2 } });
    expect(watched.keys("head").filter((key) => key.startsWith(CHUNKS))).toHaveLength(6); // a chunk, a page, before and after; one behind each manifest
    expect(fetched.keys("get").filter((key) => key.startsWith(CHUNKS))).toHaveLength(2);
    expect(await bytesOf(await second())).toEqual(bytes);
  });

  test("goes to a mirror, which has the same id and perhaps the same address, and not to itself", async () => {
    await point(noiseChunks(1, 2));
    await to.put("varve.json", await source.store.get("varve.json"));
    expect(to.url).toBe(source.store.url);
    expect((await copyTo(to)).points).toMatchObject({ copied: 1 });
    const error = await errorOf(copyTo(source.store));
    expect([error.code, error.message]).toEqual([
      "usage",
      expect.stringContaining("are the same repository"),
    ]);
    expect(await keysOf(source.store, LEASES)).toEqual([]);
  });

  test("sends a chunk once when it is at many positions", async () => {
    await point(noiseChunks(...Array.from({ length: 40 }, () => 7)));
    const watched = new HookedStore(to);
    expect((await copyTo(watched)).objects).toEqual({ copied: 2, present: 0 });
    expect(watched.keys("put").filter((key) => key.startsWith(CHUNKS))).toHaveLength(2);
  });

  test("copies one volume, or one point, when that is asked for", async () => {
    const first = await point(noiseChunks(1));
    await point(noiseChunks(2), "s2");
    await point(noiseChunks(3), "t1", { volume: SECOND_VOLUME });
    await copyTo(to, { volume: "rbd/vm-1", point: "s1" });
    expect(await keysOf(to, MANIFESTS)).toEqual([`${MANIFESTS}rbd/vm-1/${first}`]);
    await copyTo(to, { volume: "rbd/vm-1" });
    expect(await keysOf(to, MANIFESTS)).toHaveLength(2);
    expect((await errorOf(copyTo(to, { volume: "rbd/vm-9" }))).message).toContain("no restore points");
  });

  test("writes a point's chunks before its pages, and its manifest last", async () => {
    await point(noiseChunks(1, 2));
    const watched = new HookedStore(to);
    await copyTo(watched);
    const sizes = new Map(
      (await Array.fromAsync(to.list(CHUNKS))).map(({ key, sizeBytes }) => [key, sizeBytes]),
    );
    const puts = watched.keys("put").filter((key) => !key.startsWith(LEASES));
    expect(puts[0]).toStartWith(KEYS);
    expect(puts.slice(1, 3).every((key) => sizes.get(key)! > CHUNK_BYTES)).toBe(true);
    expect(sizes.get(puts[3]!)).toBeLessThan(CHUNK_BYTES);
    expect(puts[4]).toStartWith(MANIFESTS);
    expect(puts).toHaveLength(5);
  });

  test("copies only the rest when it is run again after it was cut off", async () => {
    const bytes = noiseChunks(...Array.from({ length: 30 }, (_, i) => i));
    await point(bytes);
    for (let failAt = 2; failAt < 32; failAt += 14) {
      await emptyRepository(to = newStore());
      let puts = 0;
      const failing = new HookedStore(to, {
        before: ({ op, key }) => {
          if (op === "put" && key.startsWith(CHUNKS) && ++puts === failAt) {
            throw new StoreError("the line was cut", { retryable: false });
          }
        },
      });
      expect((await errorOf(copyTo(failing))).message).toBe("the line was cut");
      expect(await keysOf(to, MANIFESTS)).toEqual([]);
      const there = (await keysOf(to, CHUNKS)).length;
      expect(await copyTo(to)).toMatchObject({ objects: { copied: 31 - there, present: there } });
      expect(await bytesOf(await second())).toEqual(bytes);
    }
  }, LIMIT_MS);

  test("has no more objects on their way than jobs", async () => {
    await point(noiseChunks(...Array.from({ length: 60 }, (_, i) => i)));
    let running = 0;
    let most = 0;
    const hooks: StoreHooks = {
      before: async ({ op, key }) => {
        if ((op !== "get" && op !== "put") || !key.startsWith(CHUNKS)) return;
        most = Math.max(most, ++running);
        await Bun.sleep(0);
      },
      after: ({ op, key }) => {
        if ((op === "get" || op === "put") && key.startsWith(CHUNKS)) running--;
      },
    };
    const from = through(source, new HookedStore(source.store, hooks));
    await copy(
      from,
      { project: PROJECT, secrets: [], to: new HookedStore(to, hooks) },
      testContext({ jobs: 3 }),
    );
    expect(most).toBe(3);
  });
});

describe("copy() and the second repository's keys", () => {
  test("fails with conflict and writes nothing when another project has that name", async () => {
    await point(noiseChunks(1));
    const other = await openRepository(to, testContext());
    await makeProject(other);
    await backUp(other, [{ to: "x", sizeBytes: CHUNK_BYTES, extents: [data(0, noise(9, CHUNK_BYTES))] }]);
    const before = await objects(to, "");
    const { code, message } = await errorOf(copyTo(to));
    expect({ code, message }).toEqual({
      code: "conflict",
      message: expect.stringContaining("a different project"),
    });
    expect(await objects(to, "")).toEqual(before);
  });

  test("adds a key that is missing there, and overwrites none", async () => {
    await point(noiseChunks(1));
    await copyTo(to);
    const [known] = await keysOf(to, KEYS);
    // Another host made a key at the same moment.
    const before = await keysOf(source.store, KEYS);
    await createKey(source, { name: PROJECT, secret: undefined }, testContext());
    const [added] = (await keysOf(source.store, KEYS)).filter((key) => !before.includes(key));
    await point(noiseChunks(2), "s2");
    const watched = new HookedStore(to);
    await copyTo(watched);
    expect(watched.keys("put").filter((key) => key.startsWith(KEYS))).toEqual([added!]);
    expect(await keysOf(to, KEYS)).toEqual([known!, added!].sort());
    expect(await bytesOf(await second())).toEqual(noiseChunks(2));
  });

  test("copies no key that is damaged, nor what only lies beside them, and the others all the same", async () => {
    await point(noiseChunks(1));
    const [key] = await keysOf(source.store, KEYS);
    const damaged = `${KEYS}${"0".repeat(16)}`;
    await source.store.put(damaged, new Uint8Array(100));
    await source.store.put(`${KEYS}.DS_Store`, new Uint8Array(3));
    const context = testContext({ onProblem: () => {} });
    const project = await openProject(source, { name: PROJECT, secrets: [] }, context);
    await copyKeys(project, await openRepository(to, context), context);
    expect(await keysOf(to, "projects/")).toEqual([key!]);
  });

  test("needs the secret, and it opens the copy, when the project has one", async () => {
    const secret = { kind: "key-file", key: new Uint8Array(32).fill(7) } as const;
    const bytes = noiseChunks(4);
    const source = await emptyRepository();
    await makeProject(source, { secret });
    await backUp(source, [{ to: "s1", sizeBytes: bytes.length, extents: [data(0, bytes)] }], { secret });
    const copyTo = (options: Partial<CopyOptions>) =>
      copy(source, { project: PROJECT, secrets: [], to, ...options }, testContext());
    expect((await errorOf(copyTo({}))).code).toBe("wrong_secret");
    expect(await keysOf(to, "projects/")).toEqual([]);
    await copyTo({ secrets: [secret] });
    expect(await bytesOf(await second(), { secret })).toEqual(bytes);
  });

  test("fails with conflict and writes nothing when the chunk sizes differ", async () => {
    await point(noiseChunks(1));
    await newRepository(to = newStore(), 2 * CHUNK_BYTES);
    const before = await objects(to, "");
    const { code, message } = await errorOf(copyTo(to));
    expect({ code, message }).toEqual({ code: "conflict", message: expect.stringContaining("131072 bytes") });
    expect(await objects(to, "")).toEqual(before);
  });
});

describe("copy() and damage", () => {
  /** The source as it is with one bit of each object that `isBad` turned over. */
  function damaged(isBad: (key: string) => boolean): Repository {
    const change = (key: string, bytes: Uint8Array) =>
      isBad(key) ? flipBit(bytes, bytes.length * 8 - 1) : bytes;
    return through(source, new HookedStore(source.store, { change }));
  }

  test("leaves out a point with a damaged chunk, says which, and copies the others", async () => {
    const good = await point(noiseChunks(1, 2));
    const shared = new Set(await chunkKeys(source));
    const bad = await point(noiseChunks(1, 3), "s2");
    const last = await point(noiseChunks(2, 4), "s3");
    const ofBad = (await chunkKeys(source)).filter((key) => !shared.has(key));
    // Of s2 and s3: a chunk and a page each. Only those of s2 are not needed by the last point.
    for (const key of ofBad) {
      await emptyRepository(to = newStore());
      const report = await copyTo(to, {}, damaged((name) => name === key));
      expect(report.points).toEqual({ copied: 2, present: 0, damaged: 1, forgotten: 0 });
      expect(report.damaged).toEqual([
        { volume: "rbd/vm-1", backup: expect.any(String), reason: expect.stringContaining(key) },
      ]);
      expect([bad, last]).toContain(report.damaged[0]!.backup);
      expect(await keysOf(to, MANIFESTS)).toHaveLength(2);
      expect(await keysOf(to, CHUNKS)).not.toContain(key);
      expect(await bytesOf(await second(), { point: good })).toEqual(noiseChunks(1, 2));
    }
  });

  test("never writes a chunk that is another one's object", async () => {
    await point(noiseChunks(1, 2));
    const [one, other] = (await Array.fromAsync(source.store.list(CHUNKS)))
      .filter(({ sizeBytes }) => sizeBytes > CHUNK_BYTES).map(({ key }) => key);
    await source.store.put(one!, await source.store.get(other!));
    expect((await copyTo(to)).points.damaged).toBe(1);
    expect(await keysOf(to, CHUNKS)).not.toContain(one!);
    expect(await keysOf(to, MANIFESTS)).toEqual([]);
  });

  test("leaves out a point that is forgotten meanwhile, without calling it damaged", async () => {
    const backup = await point(noiseChunks(1));
    await point(noiseChunks(2), "s2");
    const key = `${MANIFESTS}rbd/vm-1/${backup}`;
    const forgetful = new HookedStore(source.store, {
      before: async (call) => {
        if (call.op === "get" && call.key === key) await source.store.delete([key]);
      },
    });
    const report = await copyTo(to, {}, through(source, forgetful));
    expect(report.points).toEqual({ copied: 1, present: 0, damaged: 0, forgotten: 1 });
  });

  test("sends a chunk again that a repair of the second repository has marked", async () => {
    await point(noiseChunks(1, 2));
    await copyTo(to);
    const [gone] = (await Array.fromAsync(to.list(CHUNKS))).filter(({ sizeBytes }) =>
      sizeBytes > CHUNK_BYTES
    );
    await to.put(gone!.key.replace("/chunks/", "/marked/"), new Uint8Array(0));
    await to.delete([gone!.key]);
    await point(noiseChunks(1, 2), "s2");
    await copyTo(to);
    expect(await keysOf(to, CHUNKS)).toContain(gone!.key);
    expect(await bytesOf(await second(), { point: "s1" })).toEqual(noiseChunks(1, 2));
  });
});

describe("copy() and garbage collection", () => {
  test("has a lease in both, written before plans and points are read, and removed at the end", async () => {
    await point(noiseChunks(1));
    const from = new HookedStore(source.store);
    const target = new HookedStore(to);
    await copyTo(target, {}, through(source, from));
    const at = (store: HookedStore, op: string, prefix: string) =>
      store.calls.findIndex((call) => call.op === op && call.key.startsWith(prefix));
    expect(at(from, "put", LEASES)).toBeGreaterThan(-1);
    expect(at(from, "put", LEASES)).toBeLessThan(at(from, "list", MANIFESTS));
    expect(at(target, "put", LEASES)).toBeGreaterThan(-1);
    expect(at(target, "put", LEASES)).toBeLessThan(at(target, "list", `projects/${PROJECT}/${PLANS_PREFIX}`));
    expect(at(target, "list", `projects/${PROJECT}/${PLANS_PREFIX}`)).toBeLessThan(
      at(target, "list", MANIFESTS),
    );
    expect([...await keysOf(source.store, LEASES), ...await keysOf(to, LEASES)]).toEqual([]);
  });

  test("goes on without a lease in a source that cannot be written", async () => {
    await point(noiseChunks(1));
    const readOnly = new HookedStore(source.store, {
      before: ({ op }) => {
        if (op === "put" || op === "delete") throw new StoreError("read only", { retryable: false });
      },
    });
    await copyTo(to, {}, through(source, readOnly));
    expect(await bytesOf(await second())).toEqual(noiseChunks(1));
  });

  test("uses no condemned key: what a sweep then deletes, no point of the copy needs", async () => {
    const [bytes, changed] = [noiseChunks(1, 2, 3), noiseChunks(1, 2, 9)];
    const first = await point(bytes);
    const condemned = await chunkKeys(source);
    await point(bytes, "s2"); // under the same page
    await point(changed, "s3");
    for (const keys of [condemned, ...condemned.map((key) => [key])]) {
      await emptyRepository(to = newStore());
      await copyTo(to, { point: first, volume: "rbd/vm-1" });
      await condemn(await second(), keys);
      await copyTo(to);
      await to.delete([`${MANIFESTS}rbd/vm-1/${first}`, ...keys]);
      expect(await bytesOf(await second(), { point: "s2" })).toEqual(bytes);
      expect(await bytesOf(await second(), { point: "s3" })).toEqual(changed);
    }
  }, LIMIT_MS);

  test("uses no condemned key when the chunks are left over from no point at all", async () => {
    const bytes = noiseChunks(1, 2, 3);
    await point(bytes);
    await copyTo(to);
    await to.delete(await keysOf(to, MANIFESTS));
    const left = await chunkKeys(await second());
    await condemn(await second(), left);
    const report = await copyTo(to);
    expect(report.objects).toEqual({ copied: 3, present: 0 });
    await to.delete(left);
    expect(await bytesOf(await second())).toEqual(bytes);
    const suffixes = (await keysOf(to, CHUNKS)).map((key) => key.split(".")[1]);
    expect(suffixes.filter((suffix) => suffix !== undefined)).toHaveLength(3); // the page is another one
    expect(new Set(suffixes).size).toBe(2);
  });

  test("sends nothing when the project there is erased before its lease is written", async () => {
    await point(noiseChunks(1));
    const hooked = new HookedStore(to, {
      before: async ({ op, key }) => {
        if (op === "put" && key.startsWith(LEASES)) await to.delete(await keysOf(to, KEYS));
      },
    });
    expect((await errorOf(copyTo(hooked))).code).toBe("conflict");
    expect(await keysOf(to, "")).toEqual(["varve.json"]);
  });

  test("commits nothing when its lease in the second repository is gone before the manifest, or after it with what it copied", async () => {
    await point(noiseChunks(1));
    for (const when of ["before", "after"] as const) {
      await emptyRepository(to = newStore());
      const step = async ({ op, key }: { op: string; key: string }) => {
        if (op === "put" && key.startsWith(when === "before" ? CHUNKS : MANIFESTS)) {
          const chunks = when === "before" ? [] : await keysOf(to, CHUNKS);
          await to.delete([...await keysOf(to, LEASES), ...chunks]);
        }
      };
      expect((await errorOf(copyTo(new HookedStore(to, { after: step })))).code).toBe("conflict");
      expect(await keysOf(to, MANIFESTS)).toEqual([]);
    }
  });
});
