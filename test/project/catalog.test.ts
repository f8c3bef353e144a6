/** A catalogue in which something is damaged, strange, or not given: everything else is found. */
import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isGone, readManifest, writeManifest } from "../../src/project/manifests.ts";
import { listBackups, showBackup } from "../../src/project/catalog.ts";
import { readPoints } from "../../src/project/read_points.ts";
import { hold } from "../../src/engine/retention/hold.ts";
import { listProjects, openProject } from "../../src/project/open_project.ts";
import { initRepository, openRepository, type Repository } from "../../src/project/repository.ts";
import { backupId } from "../../src/format/backup_id.ts";
import { DamageError, MissingError, UnavailableError } from "../../src/errors.ts";
import { utf8 } from "../../src/util/bytes.ts";
import type { Store } from "../../src/store/store.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  errorOf,
  KEYS,
  keysOf,
  MANIFESTS,
  newRepository,
  newStore,
  noiseChunks,
  PROJECT,
  restoreTo,
  testContext,
  through,
  VOLUME,
} from "../kit/engine.ts";
import { flipBit, flipStored } from "../kit/damage.ts";
import { HookedStore, type StoreHooks } from "../kit/hooked_store.ts";
import { data } from "../kit/memory_source.ts";

/** Three points, of the snapshots a, b and c, and their manifests' keys. */
async function setUp() {
  const store = newStore();
  const repository = await newRepository(store);
  for (const [at, to] of ["a", "b", "c"].entries()) {
    const extents = [data(0, noiseChunks(at))];
    await backUp(repository, [{
      from: ["", "a", "b"][at] || undefined,
      to,
      sizeBytes: CHUNK_BYTES,
      extents,
    }]);
  }
  const manifests = await keysOf(store, MANIFESTS) as [string, string, string];
  return { store, repository, manifests, ids: manifests.map(idOf) };
}

function idOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

const flip = (store: Store, key: string) => flipStored(store, key, () => 200);

/** A context that goes on, and the keys of what it was told of. */
function listener() {
  const problems: string[] = [];
  const onProblem = (problem: unknown) => {
    problems.push(
      problem instanceof DamageError || problem instanceof UnavailableError ? problem.key : String(problem),
    );
  };
  return { problems, context: testContext({ onProblem }) };
}

const open = (repository: Repository) =>
  openProject(repository, { name: PROJECT, secrets: [] }, testContext());

/** What `listBackups` finds, and what it is told of. */
async function list(repository: Repository) {
  const { problems, context } = listener();
  const found = await listBackups(repository, { project: PROJECT, secrets: [] }, context);
  return { ids: found.map(({ backup }) => backup), problems };
}

describe("listBackups()", () => {
  test("lists all but the damaged one, whichever it is", async () => {
    const { store, repository, manifests, ids } = await setUp();
    for (const [at, key] of manifests.entries()) {
      const whole = await store.get(key);
      for (
        const bytes of [
          flipBit(whole, 8 * 200),
          flipBit(whole, 8 * 5),
          whole.subarray(0, 9),
          new Uint8Array(0),
        ]
      ) {
        await store.put(key, bytes);
        expect(await list(repository)).toEqual({
          ids: ids.filter((_, index) => index !== at),
          problems: [key],
        });
      }
      await store.put(key, whole);
    }
  });

  test("throws the damage where nobody wants to be told", async () => {
    const { store, repository, manifests } = await setUp();
    await flip(store, manifests[1]);
    const error = await errorOf(
      listBackups(repository, { project: PROJECT, secrets: [] }, testContext()),
    );
    expect(error).toBeInstanceOf(DamageError);
  });

  test.each([".DS_Store", "note.txt", "0123456789abcdef.tmp", "sub/0123456789abcdef"])(
    "is not hindered by keys/%s, nor by such files elsewhere",
    async (name) => {
      const { store, repository, ids } = await setUp();
      for (
        const folder of ["keys", "volumes", `volumes/${VOLUME}`, "holds", "chunks", "chunks/ab", "gc", ""]
      ) {
        await store.put(`projects/${PROJECT}/${folder}${folder && "/"}${name}`, utf8("x"));
      }
      expect(await list(repository)).toEqual({ ids, problems: [] });
      await backUp(repository, [{ from: "c", to: "d", sizeBytes: CHUNK_BYTES, extents: [] }]);
      expect(await bytesOf(repository)).toEqual(noiseChunks(2));
    },
  );

  test("is not hindered by the markers of folders that browsers of S3 make", async () => {
    const { store, repository, ids } = await setUp();
    const folders = [
      "keys/",
      "volumes/",
      `volumes/${VOLUME}/`,
      "holds/",
      "chunks/",
      "leases/",
      "gc/",
      "damaged/",
    ];
    const marked = through(
      repository,
      new MarkedStore(store, folders.map((name) => `projects/${PROJECT}/${name}`)),
    );
    expect(await list(marked)).toEqual({ ids, problems: [] });
    await backUp(marked, [{ from: "c", to: "d", sizeBytes: CHUNK_BYTES, extents: [] }]);
    expect(await bytesOf(marked)).toEqual(noiseChunks(2));
    const place = { project: PROJECT, volume: VOLUME, point: "d", secrets: [], reason: null };
    expect((await hold(marked, place, testContext())).held).toBe(true);
  });

  test("reads the bytes again before it calls a manifest damaged, and no more than twice", async () => {
    const { store, repository, manifests, ids } = await setUp();
    for (const lies of [1, 2]) {
      let left = lies;
      const change = (key: string, bytes: Uint8Array) =>
        key === manifests[1] && left-- > 0 ? flipBit(bytes, 8 * 200) : bytes;
      const found = await list(through(repository, new HookedStore(store, { change })));
      expect(found.problems).toEqual(lies === 1 ? [] : [manifests[1]]);
      expect(found.ids.length).toBe(lies === 1 ? ids.length : ids.length - 1);
    }
  });

  test("names a manifest that the store lists and does not give", async () => {
    const { store, repository, manifests, ids } = await setUp();
    const refuse = (key: string) => new UnavailableError(key, `Cannot read "${key}": it is archived`);
    const miss = (key: string) => new MissingError(key, `Cannot read "${key}": no such object`);
    for (const failure of [refuse, miss]) {
      const before: StoreHooks["before"] = ({ op, key }) => {
        if (op === "get" && key === manifests[0]) throw failure(key);
      };
      const found = await list(through(repository, new HookedStore(store, { before })));
      expect(found).toEqual({ ids: ids.slice(1), problems: [manifests[0]] });
    }
  });

  test("leaves out a manifest that is forgotten while it lists", async () => {
    const { store, repository, manifests, ids } = await setUp();
    const before: StoreHooks["before"] = async ({ op, key }) => {
      if (op === "get" && key === manifests[0]) await store.delete([key]);
    };
    const found = await list(through(repository, new HookedStore(store, { before })));
    expect(found).toEqual({ ids: ids.slice(1), problems: [] });
  });

  test("passes over a folder that no project can be called like, with a word", async () => {
    const { store, repository, ids } = await setUp();
    await store.put("projects/a b/keys/k", utf8("x"));
    const warnings: string[] = [];
    const { log } = testContext();
    const context = testContext({ log: { ...log, warn: (_, text) => void warnings.push(text) } });
    expect(await Array.fromAsync(listProjects(repository, context))).toEqual([PROJECT]);
    expect(warnings).toEqual(['the folder "projects/a b" is skipped: it is not a valid project name']);
    expect(await list(repository)).toEqual({ ids, problems: [] });
  });
});

describe("a damaged key beside one that opens", () => {
  /** The project has the points of another, too, which are under another key. */
  async function withTwoKeys() {
    const { store, repository, ids } = await setUp();
    const other = newStore();
    await backUp(
      await newRepository(other),
      [{ sizeBytes: CHUNK_BYTES, extents: [data(0, noiseChunks(7))] }],
      {
        volume: "other",
      },
    );
    for (const key of await keysOf(other, "projects/")) await store.put(key, await other.get(key));
    const [key] = await keysOf(other, KEYS) as [string];
    const [manifest] = await keysOf(other, MANIFESTS) as [string];
    return { store, repository, ids, key, manifest };
  }

  test("hides only what is sealed with it", async () => {
    const { store, repository, ids, key, manifest } = await withTwoKeys();
    await flip(store, key);
    expect(await list(repository)).toEqual({ ids, problems: [key, manifest] });
    const { context, problems } = listener();
    expect(await bytesOf(repository, { context })).toEqual(noiseChunks(2));
    expect(problems).toEqual([key]);
    const next = { from: "c", to: "d", sizeBytes: CHUNK_BYTES, extents: [] };
    expect((await backUp(repository, [next])).length).toBe(1);
  });
});

describe("showBackup()", () => {
  test("tells of a damaged hold, and shows the rest", async () => {
    const { store, repository } = await setUp();
    const place = { project: PROJECT, volume: VOLUME, point: "b", secrets: [] };
    await hold(repository, { ...place, reason: "case 4711" }, testContext());
    const [key] = await keysOf(store, `projects/${PROJECT}/holds/`) as [string];
    await store.put(key, utf8("garbage"));
    const { context, problems } = listener();
    const details = await showBackup(repository, place, context);
    expect([details.held, details.hold_reason, problems]).toEqual([true, null, [key]]);
  });
});

describe("a point whose newer ones are damaged", () => {
  test.each([
    ["latest", "b", ["c"]],
    ["~0", "b", ["c"]],
    ["~1", "a", ["c"]],
    ["b", "b", ["c"]],
    ["a", "a", ["c"]],
    ["2099-01-01", "b", ["c"]],
  ])("%s is %s, and what may be meant instead is told", async (point, snapshot, told) => {
    const { store, repository, manifests } = await setUp();
    await flip(store, manifests[2]);
    const { context, problems } = listener();
    const options = { project: PROJECT, volume: VOLUME, point, secrets: [] };
    expect((await showBackup(repository, options, context)).to_snapshot).toBe(snapshot);
    expect(problems).toEqual(told.map(() => manifests[2]));
  });

  test("restore() brings the newest that can be read, and is told of the newer one", async () => {
    const { store, repository, manifests } = await setUp();
    await flip(store, manifests[2]);
    const { context, problems } = listener();
    const { target, report } = await restoreTo(repository, { context });
    expect([target.bytes, report.backup, problems]).toEqual([noiseChunks(1), idOf(manifests[1]), [
      manifests[2],
    ]]);
  });

  test("it is not the one that is damaged behind its info, nor one that this host remembers", async () => {
    const cacheRoot = await mkdtemp(join(tmpdir(), "varve-catalog-"));
    try {
      const { store, repository, manifests } = await setUp();
      const { context, problems } = listener();
      const remembering = { ...context, cacheRoot };
      await listBackups(repository, { project: PROJECT, secrets: [] }, remembering);
      await flip(store, manifests[2]);
      const bytes = await store.get(manifests[1]);
      await store.put(manifests[1], flipBit(bytes, 8 * bytes.length - 1));
      expect(await bytesOf(repository, { context: remembering })).toEqual(noiseChunks(0));
      expect(problems.toSorted()).toEqual([manifests[1], manifests[2]]);
    } finally {
      await rm(cacheRoot, { recursive: true, force: true });
    }
  });

  test("an older damaged one is nothing to the latest", async () => {
    const { store, repository, manifests } = await setUp();
    await flip(store, manifests[0]);
    expect(await bytesOf(repository)).toEqual(noiseChunks(2));
  });

  test("damage is said where the snapshot may be that of a damaged one", async () => {
    const { store, repository, manifests } = await setUp();
    await flip(store, manifests[1]);
    const error = await errorOf(restoreTo(repository, { point: "b" }));
    expect([error.code as string, error.message]).toEqual([
      "damage",
      expect.stringContaining("1 of its restore points cannot be read"),
    ]);
  });

  test("a beginning of ids counts those that cannot be read", async () => {
    const { store, repository, manifests } = await setUp();
    await flip(store, manifests[1]);
    const error = await errorOf(restoreTo(repository, { point: "id:2026" }));
    expect(error.message).toContain("3 restore points match");
  });
});

describe("backup() of a difference beside damaged manifests", () => {
  test("finds its base before and behind them", async () => {
    const { store, repository, manifests } = await setUp();
    await flip(store, manifests[1]);
    const next = (from: string, to: string) => [{ from, to, sizeBytes: CHUNK_BYTES, extents: [] }];
    await backUp(repository, next("c", "d"));
    expect(await bytesOf(repository)).toEqual(noiseChunks(2));
    await backUp(repository, next("a", "e"));
    expect(await bytesOf(repository)).toEqual(noiseChunks(0));
    const error = await errorOf(backUp(repository, next("b", "f")));
    expect([error.code as string, error.message]).toEqual([
      "damage",
      expect.stringContaining("which may include it"),
    ]);
  });
});

describe("isGone()", () => {
  const place = (id: string) => ({ volume: VOLUME, backup: id });

  test("is true only if neither a question nor a listing finds the manifest", async () => {
    const { store, repository, manifests, ids } = await setUp();
    await store.delete([manifests[0]]);
    expect(await isGone(await open(repository), place(ids[0]!), testContext())).toBe(true);
    expect(await isGone(await open(repository), place(ids[1]!), testContext())).toBe(false);
    const blind = new BlindStore(store);
    const project = await open(through(repository, blind));
    for (const blindness of ["head", "list"] as const) {
      blind.blindness = blindness;
      expect(await isGone(project, place(ids[1]!), testContext())).toBe(false);
    }
  });
});

describe("what is read of the store", () => {
  test("has a bound, whatever an object says or is", async () => {
    const { store, repository, manifests } = await setUp();
    const asked: number[] = [];
    const before: StoreHooks["before"] = ({ op, key, range }) => {
      if (op === "get" && key.startsWith("projects/")) asked.push(range?.length ?? Infinity);
    };
    const hooked = through(repository, new HookedStore(store, { before }));
    await store.put(manifests[0], new Uint8Array(1 << 20));
    const project = await open(hooked);
    expect((await readPoints(project, VOLUME, testContext()).next()).value).toMatchObject({
      backup: idOf(manifests[0]),
    });
    const place = { volume: VOLUME, backup: idOf(manifests[0]) };
    expect(await errorOf(readManifest(project, place, testContext()))).toBeInstanceOf(DamageError);
    expect(Math.max(...asked)).toBeLessThanOrEqual((256 << 10) + 1);
  });

  test("is all of it where it is larger than the first read, and not what follows", async () => {
    const { store, repository, manifests, ids } = await setUp();
    const project = await open(repository);
    const manifest = await readManifest(project, { volume: VOLUME, backup: ids[2]! }, testContext());
    const passedOver = Array.from({ length: 10_000 }, (_, at) => backupId(at, new Uint8Array(4)));
    const info = { ...manifest.info, passed_over: passedOver };
    await writeManifest(project, { ...manifest, info }, {});
    expect((await store.head(manifests[2]))!.sizeBytes).toBeGreaterThan(257 << 10);
    const place = { volume: VOLUME, backup: ids[2]! };
    expect((await readManifest(project, place, testContext())).info.passed_over).toEqual(passedOver);
    await store.put(manifests[2], new Uint8Array([...await store.get(manifests[2]), 0]));
    expect(await errorOf(readManifest(project, place, testContext()))).toBeInstanceOf(DamageError);
  });
});

describe("the repository's own file", () => {
  test("is looked at twice before another is made, or it is called damaged", async () => {
    const { store } = await setUp();
    const blind = new BlindStore(store);
    blind.blindness = "head";
    expect((await errorOf(initRepository(blind, { chunkBytes: CHUNK_BYTES }, testContext()))).code).toBe(
      "conflict",
    );
    let lies = 1;
    const change = (key: string, bytes: Uint8Array) =>
      key === "varve.json" && lies-- > 0 ? bytes.subarray(9) : bytes;
    expect((await openRepository(new HookedStore(store, { change }), testContext())).id).toMatch(
      /^[0-9a-f]{32}$/,
    );
  });
});

/** A store that does not find anything in one of two ways. */
class BlindStore extends HookedStore {
  blindness: "head" | "list" | undefined;

  override async head(...args: Parameters<HookedStore["head"]>) {
    return this.blindness === "head" ? undefined : await super.head(...args);
  }

  override async *list(...args: Parameters<HookedStore["list"]>) {
    if (this.blindness !== "list") yield* super.list(...args);
  }
}

/** A store that lists empty objects whose keys end in `/`, and can be asked for none of them. */
class MarkedStore extends HookedStore {
  readonly #markers: readonly string[];

  constructor(inner: Store, markers: readonly string[]) {
    super(inner);
    this.#markers = markers;
  }

  override async *list(prefix: string, options = {}) {
    for (const key of this.#markers) if (key.startsWith(prefix)) yield { key, sizeBytes: 0, modifiedMs: 0 };
    yield* super.list(prefix, options);
  }
}
