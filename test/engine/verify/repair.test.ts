/** repair() beside other hosts, over a store that answers wrongly once, and of what only another repository has. */
import { beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { copy } from "../../../src/engine/copy/copy.ts";
import { gc } from "../../../src/engine/gc/gc.ts";
import { openRepository, type Repository } from "../../../src/project/repository.ts";
import { repair, type RepairOptions, type RepairReport } from "../../../src/engine/verify/repair.ts";
import { verify, type VerifyOptions } from "../../../src/engine/verify/verify.ts";
import { forgetPoint } from "../../../src/engine/retention/forget.ts";
import { hold } from "../../../src/engine/retention/hold.ts";
import { UnavailableError } from "../../../src/errors.ts";
import { OBJECT_TYPE } from "../../../src/format/object.ts";
import type { MemoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
import { flipBit, flipStored } from "../../kit/damage.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  emptyRepository,
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
} from "../../kit/engine.ts";
import { HookedStore, type StoreCall, type StoreHooks } from "../../kit/hooked_store.ts";
import { data, memorySource, type TestDiff } from "../../kit/memory_source.ts";
import { condemn } from "../../kit/plans.ts";
import { block, objectKey, pageKeyOf, placesOf, written } from "../../kit/patches.ts";

const MARKS = `projects/${PROJECT}/marked/`;
const HOLDS = `projects/${PROJECT}/holds/`;
const CONTENT = noiseChunks(1, 2, 3);
const FULL: TestDiff = { to: "a", sizeBytes: CONTENT.length, extents: [data(0, CONTENT)] };

let store: MemoryStore;
let repository: Repository;
let backup: string;
/** Of the chunks at positions 0 to 2, and of their page. */
let chunks: string[];
let page: string;
beforeEach(async () => {
  repository = await newRepository(store = newStore());
  ({ backup } = (await backUp(repository, [FULL]))[0]!);
  chunks = (await placesOf(repository)).map((place) => objectKey(place!.object));
  page = (await pageKeyOf(repository))!;
});

async function heal(options: Partial<RepairOptions> = {}, on = repository): Promise<RepairReport> {
  return await repair(on, { project: PROJECT, secrets: [], ...options }, testContext());
}

async function verified(options: Partial<VerifyOptions> = {}, on = repository) {
  const all = { project: PROJECT, secrets: [], sample: { kind: "all" } } as const;
  return await verify(on, { ...all, ...options }, testContext());
}

const hooked = (hooks: StoreHooks) => new HookedStore(store, hooks);
const sourceOf = (content: Uint8Array) =>
  memorySource([{ sizeBytes: content.length, extents: [data(0, content)] }]);

const flip = (key: string, on: Store = store) => flipStored(on, key, (length) => length - 50);

/** A second repository with all that the first one has now. */
async function copyOf(from: Store): Promise<MemoryStore> {
  const copy = newStore();
  for (const key of await keysOf(from, "")) await copy.put(key, await from.get(key));
  return copy;
}

async function stateOf(prefix = ""): Promise<Map<string, string>> {
  const keys = await keysOf(store, prefix);
  return new Map(
    await Promise.all(keys.map(async (key) => {
      return [key, Buffer.from(await store.get(key)).toString("base64")] as const;
    })),
  );
}

const NOTHING = { healed: [], left: [], marked: [], points: [], findings: [] };

describe("repair() over a store that is wrong once", () => {
  test.each(["chunk", "page"])(
    "leaves a healthy %s alone when its first read has a flipped bit",
    async (kind) => {
      const key = kind === "page" ? page : chunks[0]!;
      const seen = new Set<string>();
      const change = (of: string, bytes: Uint8Array) => {
        const isFirst = of === key && !seen.has(of) && bytes.length > 100;
        if (isFirst) seen.add(of);
        return isFirst ? flipBit(bytes, 8 * (bytes.length - 50)) : bytes;
      };
      const before = await stateOf();
      expect(await heal({}, through(repository, hooked({ change })))).toMatchObject(NOTHING);
      expect(seen.size).toBe(1);
      expect(await stateOf()).toEqual(before);
    },
  );

  test("leaves a chunk alone that one listing lacks", async () => {
    const before = await stateOf();
    const hide = (key: string) => key === chunks[0];
    expect(await heal({}, through(repository, hooked({ hide })))).toMatchObject(NOTHING);
    expect(await stateOf()).toEqual(before);
  });
});

describe("restore() and verify() over a store that is wrong once", () => {
  test("read a second time before they speak of damage", async () => {
    const seen = new Set<string>();
    const change = (key: string, bytes: Uint8Array) => {
      const isFirst = chunks.includes(key) && !seen.has(key);
      seen.add(key);
      return isFirst ? flipBit(bytes, 8 * (bytes.length - 50)) : bytes;
    };
    const on = through(repository, hooked({ change }));
    expect(Buffer.compare(await bytesOf(on), CONTENT)).toBe(0);
    seen.clear();
    expect((await verified({}, on)).findings).toEqual([]);
  });
});

describe("repair() beside others", () => {
  /** Runs `work` once, before the first call that `isIt` picks. */
  const once = (isIt: (call: StoreCall) => boolean, work: () => Promise<unknown>): StoreHooks => {
    let isDone = false;
    return {
      before: async (call) => {
        if (isDone || !isIt(call)) return;
        isDone = true;
        await work();
      },
    };
  };
  const anotherBackup = () => backUp(repository, [{ ...FULL, to: "b" }], { volume: "other" });

  test.each([
    ["it is found missing", (key: string) => key.startsWith(MARKS)],
    ["the source was read", (key: string) => key === chunks[0]],
  ])("takes nothing away when another host stores the missing chunk after %s", async (_, isIt) => {
    await store.delete([chunks[0]!]);
    let looks = 0;
    // The second look at the chunk comes right before the repair acts.
    const isLook = ({ op, key }: StoreCall) => (op === "put" || op === "get") && isIt(key) && looks++ === 0;
    const on = through(repository, hooked(once(isLook, anotherBackup)));
    const report = await heal({ source: sourceOf(noiseChunks(7)) }, on);
    expect(report).toMatchObject(NOTHING);
    expect(await keysOf(store, MARKS)).toEqual([]);
    expect((await verified()).findings).toEqual([]);
    expect(Buffer.compare(await bytesOf(repository, { volume: "other" }), CONTENT)).toBe(0);
  });

  /** After a repair has verified, and before it acts: it looks for the content under another key. */
  const isBeforeActing = ({ op, key }: StoreCall) => op === "list" && key === chunks[0];

  test("marks nothing that another host stores again before it acts", async () => {
    await store.delete([chunks[0]!]);
    const on = hooked(once(isBeforeActing, anotherBackup));
    expect(await heal({}, through(repository, on))).toMatchObject(NOTHING);
    expect(on.keys("put").filter((key) => !key.includes("/leases/"))).toEqual([]);
  });

  test("writes over nothing that another repair heals before it acts", async () => {
    await flip(chunks[0]!);
    const on = hooked(once(isBeforeActing, () => heal({ source: sourceOf(CONTENT) })));
    expect(await heal({ source: sourceOf(CONTENT) }, through(repository, on))).toMatchObject(NOTHING);
    expect(on.keys("put").filter((key) => !key.includes("/leases/"))).toEqual([]);
  });

  test("heals nothing twice and marks nothing when two repairs run, and one has the content", async () => {
    await flip(chunks[0]!);
    await store.delete([chunks[1]!]);
    const other = () => heal({ source: sourceOf(CONTENT) });
    const isMark = ({ op, key }: StoreCall) => op === "list" && key === MARKS && marksSeen++ === 1;
    let marksSeen = 0;
    const on = through(repository, hooked(once(isMark, other)));
    expect(await heal({}, on)).toMatchObject(NOTHING);
    expect(await keysOf(store, MARKS)).toEqual([]);
    expect((await verified()).findings).toEqual([]);
  });

  test("removes its own mark when the other heals between its look and its mark", async () => {
    await flip(chunks[0]!);
    const isMark = ({ op, key }: StoreCall) => op === "put" && key.startsWith(MARKS);
    const on = through(repository, hooked(once(isMark, () => heal({ source: sourceOf(CONTENT) }))));
    expect(await heal({}, on)).toMatchObject(NOTHING);
    expect(await keysOf(store, MARKS)).toEqual([]);
  });

  test("deletes nothing but marks and its lease", async () => {
    await flip(chunks[0]!);
    await store.delete([chunks[1]!, page]);
    const watched = hooked({});
    await heal({}, through(repository, watched));
    await heal({ source: sourceOf(CONTENT) }, through(repository, watched));
    const deleted = watched.keys("delete").flatMap((keys) => keys.split(" "));
    for (const key of deleted) expect(key).toMatch(/^projects\/acme\/(marked|leases)\//);
    expect((await verified()).findings).toEqual([]);
  });
});

describe("a mark", () => {
  test("makes the next full backup store the chunk again, over the marked key and whole, which heals all points", async () => {
    await flip(chunks[0]!);
    const { marked, left } = await heal();
    expect({ marked, left }).toMatchObject({ marked: [chunks[0]!], left: [{ kind: "damaged" }] });
    // The position had something else of which this differs in a block: no patch may take its place.
    const near = written(CONTENT, [block(0, 3, 77)]);
    await backUp(repository, [{ to: "b", sizeBytes: near.length, extents: [data(0, near)] }]);
    await backUp(repository, [{ ...FULL, to: "c" }]);
    const { findings, marked: left2, unmarked } = await verified();
    expect({ findings, left2, unmarked }).toEqual({ findings: [], left2: 0, unmarked: 1 });
    expect(Buffer.compare(await bytesOf(repository, { point: "a" }), CONTENT)).toBe(0);
  });

  test("makes the next backup store a marked page again, too", async () => {
    await flip(page);
    expect((await heal()).marked).toEqual([page]);
    await backUp(repository, [FULL], { volume: "other" });
    expect(await verified()).toMatchObject({ findings: [], marked: 0, unmarked: 1 });
  });

  test("is a mark for a backup when it cannot be read", async () => {
    await flip(chunks[0]!);
    await store.put(chunks[0]!.replace("/chunks/", "/marked/"), new Uint8Array(0));
    await backUp(repository, [{ ...FULL, to: "b" }]);
    expect(await verified()).toMatchObject({ findings: [], unmarked: 1 });
  });

  test("goes with the object once no point needs it and a gc has deleted it, and not before", async () => {
    await flip(chunks[0]!);
    await heal();
    await store.delete([chunks[0]!]);
    expect(await verified()).toMatchObject({ marked: 1, unmarked: 0 });
    const point = { project: PROJECT, volume: VOLUME, point: "a", dryRun: false, secrets: [] };
    await forgetPoint(repository, point, testContext());
    expect((await errorOf(verified({ volume: VOLUME }))).code).toBe("not_found");
    expect(await verified()).toMatchObject({ marked: 0, unmarked: 1 });
  });

  test("stays, and is no failure, where it may not be removed", async () => {
    await store.put(chunks[0]!.replace("/chunks/", "/marked/"), new Uint8Array(0));
    const refuse = (key: string) => key.startsWith(MARKS);
    const report = await verified({}, through(repository, hooked({ refuse })));
    expect(report).toMatchObject({ findings: [], marked: 1, unmarked: 0 });
  });

  test("has verify() read the chunk whatever the sample", async () => {
    await flip(chunks[0]!);
    await heal();
    const report = await verified({ sample: { kind: "none" } });
    expect(report).toMatchObject({ findings: [{ key: chunks[0], kind: "damaged" }], marked: 1 });
    expect(report.points).toMatchObject([{ backup, state: "damaged", damaged_chunks: 1 }]);
  });

  test("is sealed, and says what was found", async () => {
    await store.delete([chunks[0]!]);
    await heal();
    const [mark] = await keysOf(store, MARKS);
    expect((await store.get(mark!))[6]).toBe(OBJECT_TYPE.mark);
  });
});

describe("repair() of what a page hid", () => {
  test("goes on until nothing new is found", async () => {
    const second = await copyOf(store);
    await store.delete([page, chunks[1]!]);
    const { healed, left } = await heal({ fromStore: second });
    expect({ healed: healed.toSorted(), left }).toEqual({ healed: [page, chunks[1]!].toSorted(), left: [] });
    expect((await verified()).findings).toEqual([]);
  });

  test("makes a page and a chunk again from the source", async () => {
    await store.delete([page, chunks[1]!]);
    const grown = new Uint8Array([...CONTENT, ...noiseChunks(8)]);
    const { healed, left } = await heal({ source: sourceOf(grown) });
    expect({ healed: healed.toSorted(), left }).toEqual({ healed: [page, chunks[1]!].toSorted(), left: [] });
    expect((await verified()).findings).toEqual([]);
    expect(Buffer.compare(await bytesOf(repository), CONTENT)).toBe(0);
  });

  test("makes a page with patches again from the source and the page of another point", async () => {
    const changes = [block(0, 3, 77), block(2, 1, 78)];
    const content = written(CONTENT, changes);
    await backUp(repository, [{ from: "a", to: "b", sizeBytes: content.length, extents: changes }]);
    expect((await placesOf(repository)).filter((place) => place?.base !== undefined)).toHaveLength(2);
    const patched = (await pageKeyOf(repository))!;
    await store.delete([patched]);
    expect(await heal({ source: sourceOf(content) })).toMatchObject({ healed: [patched], left: [] });
    expect(Buffer.compare(await bytesOf(repository), content)).toBe(0);
  });

  test("takes a page out of this host's cache, and never one that the cache has wrongly", async () => {
    const cacheRoot = await mkdtemp(join(tmpdir(), "varve-repair-"));
    try {
      const context = testContext({ cacheRoot });
      await backUp(repository, [{ ...FULL, to: "b" }], { context });
      await store.delete([page]);
      const options = { project: PROJECT, secrets: [] };
      expect(await repair(repository, options, context)).toMatchObject({ healed: [page], left: [] });
      await backUp(repository, [{ to: "c", sizeBytes: CHUNK_BYTES, extents: [data(0, noiseChunks(9))] }], {
        context,
      });
      await store.delete([page]);
      expect(await repair(repository, options, context)).toMatchObject({ healed: [], left: [{ key: page }] });
    } finally {
      await rm(cacheRoot, { recursive: true, force: true });
    }
  });
});

describe("repair() of a project with two keys", () => {
  test("heals a chunk and a page that are under the second one", async () => {
    const first = store;
    // Two hosts made the project at once: its volume is under the key that sorts last.
    const other = newStore();
    await backUp(await newRepository(other, CHUNK_BYTES, repository.id), [FULL]);
    const [[mine], [theirs]] = [await keysOf(store, KEYS), await keysOf(other, KEYS)];
    if (mine! < theirs!) {
      repository = { ...repository, store: other };
      [store, chunks] = [other, (await placesOf(repository)).map((place) => objectKey(place!.object))];
      page = (await pageKeyOf(repository))!;
      await store.put(mine!, await first.get(mine!));
    } else {
      await store.put(theirs!, await other.get(theirs!));
    }
    await flip(chunks[0]!);
    await store.delete([page]);
    const { healed, left } = await heal({ source: sourceOf(CONTENT) });
    expect({ healed: healed.toSorted(), left }).toEqual({ healed: [page, chunks[0]!].toSorted(), left: [] });
    expect(Buffer.compare(await bytesOf(repository), CONTENT)).toBe(0);
  });
});

describe("repair() from another repository", () => {
  let second: MemoryStore;
  beforeEach(async () => void (second = await copyOf(store)));

  test("brings back lost keys, also of a project that has lost them all", async () => {
    const keys = await keysOf(store, KEYS);
    await store.delete(keys);
    expect(await heal({ fromStore: second })).toMatchObject({ healed: keys, left: [] });
    expect(Buffer.compare(await bytesOf(repository), CONTENT)).toBe(0);
  });

  test("heals a damaged key, and never by a damaged one", async () => {
    const [key] = await keysOf(store, KEYS);
    const right = await store.get(key!);
    await store.put(key!, flipBit(right, 100));
    expect(await heal({ fromStore: second })).toMatchObject({ healed: [key], left: [] });
    expect(Buffer.from(await store.get(key!))).toEqual(Buffer.from(right));
    await second.put(key!, flipBit(right, 100));
    await store.delete([key!]);
    await heal({ fromStore: second }).catch(() => {});
    expect(await keysOf(store, KEYS)).toEqual([]);
  });

  test("brings back lost manifests with all that they need, and holds", async () => {
    await hold(repository, {
      project: PROJECT,
      volume: VOLUME,
      point: "a",
      reason: "4711",
      secrets: [],
    }, testContext());
    second = await copyOf(store);
    const gone = [...await keysOf(store, MANIFESTS), ...await keysOf(store, HOLDS), chunks[0]!, page];
    await store.delete(gone);
    const { healed, left } = await heal({ fromStore: second });
    expect(left).toEqual([]);
    expect(healed.toSorted()).toEqual(gone.filter((key) => !key.startsWith(CHUNKS)).toSorted());
    expect(Buffer.compare(await bytesOf(repository), CONTENT)).toBe(0);
    expect(await keysOf(store, HOLDS)).toHaveLength(1);
  });

  test("does not bring back a point that was forgotten here, also after a gc, and does one that was lost", async () => {
    const manifest = await store.get(`${MANIFESTS}${VOLUME}/${backup}`);
    await backUp(repository, [{ ...FULL, to: "b" }]);
    const point = { project: PROJECT, volume: VOLUME, point: "a", dryRun: false, secrets: [] };
    await forgetPoint(repository, point, testContext());
    second = await copyOf(store);
    await second.put(`${MANIFESTS}${VOLUME}/${backup}`, manifest);
    expect(await heal({ fromStore: second })).toMatchObject({ ...NOTHING, not_missed: 1 });
    // A gc forgets what was forgotten: it remembers what there is.
    const options = { project: PROJECT, secrets: [], dryRun: false, graceMs: 0, force: false };
    for (let turn = 0; turn < 2; turn++) await gc(repository, options, testContext());
    // A later gc drops the record, too: what it saw last says the same.
    await store.delete(await keysOf(store, `projects/${PROJECT}/forgotten/`));
    expect(await heal({ fromStore: second })).toMatchObject({ ...NOTHING, not_missed: 1 });
    const [left] = await keysOf(store, MANIFESTS);
    await store.delete([left!]);
    expect(await heal({ fromStore: second })).toMatchObject({ healed: [left], left: [], not_missed: 1 });
    expect(await keysOf(store, MANIFESTS)).toEqual([left!]);
  });

  test("does not use a key that a gc plan condemns for a point that it brings back", async () => {
    await store.delete(await keysOf(store, MANIFESTS));
    await condemn(repository, [...chunks, page]);
    expect((await heal({ fromStore: second })).left).toEqual([]);
    const places = (await placesOf(repository)).map((place) => objectKey(place!.object));
    for (const key of places) expect(chunks).not.toContain(key);
    await store.delete([...chunks, page]); // the sweep
    expect(Buffer.compare(await bytesOf(repository), CONTENT)).toBe(0);
  });

  test("refuses a repository that cuts volumes otherwise, and takes nothing from it", async () => {
    const other = newStore();
    await newRepository(other, 2 * CHUNK_BYTES);
    const before = await keysOf(store, "");
    const error = await errorOf(heal({ fromStore: other }));
    expect([error.code, error.message]).toEqual([
      "conflict",
      `Cannot repair from "${other.url}": its chunk size is 131072 bytes instead of 65536`,
    ]);
    expect(await keysOf(store, "")).toEqual(before);
  });

  test("refuses another project of that name", async () => {
    const other = newStore();
    await backUp(await newRepository(other), [FULL]);
    expect(heal({ fromStore: other })).rejects.toMatchObject({ code: "conflict" });
  });

  test("heals a chunk that the other has under another key", async () => {
    // The other's copy was made while a plan there condemned the plain key.
    const third = newStore();
    await emptyRepository(third);
    const here = { ...repository, store: second };
    const options = { project: PROJECT, secrets: [], to: third };
    await copy(here, options, testContext());
    await third.delete(await keysOf(third, MANIFESTS));
    await condemn(await openRepository(third, testContext()), [chunks[0]!]);
    await copy(here, options, testContext());
    await third.delete([chunks[0]!]);
    const [suffixed] = await keysOf(third, chunks[0]!);
    expect(suffixed).toMatch(/\.[0-9a-f]{32}$/);
    await store.delete([chunks[0]!]);
    expect(await heal({ fromStore: third })).toMatchObject({ healed: [chunks[0]], left: [] });
    expect(Buffer.compare(await bytesOf(repository), CONTENT)).toBe(0);
  });
});

describe("of an object that the store never gives", () => {
  const withheld = (): Repository =>
    through(
      repository,
      hooked({
        before: ({ op, key }) => {
          if (op === "get" && key === chunks[1]) {
            throw new UnavailableError(key, `Cannot read "${key}": the store has archived it`);
          }
        },
      }),
    );

  test("verify() finds it, and reads the rest", async () => {
    const { findings, chunks_read, points } = await verified({}, withheld());
    expect(findings).toMatchObject([{ kind: "unavailable", key: chunks[1] }]);
    expect(chunks_read).toBe(2);
    expect(points).toMatchObject([{
      state: "damaged",
      ranges: [{ offset: CHUNK_BYTES, length: CHUNK_BYTES }],
    }]);
  });

  test("restore() with keepGoing restores the rest", async () => {
    const { report } = await restoreTo(withheld(), { keepGoing: true });
    expect(report.damaged).toMatchObject([{ offset: CHUNK_BYTES, key: chunks[1], target: "kept" }]);
  });

  test("repair() marks it, and the next backup stores it again", async () => {
    expect(await heal({}, withheld())).toMatchObject({
      marked: [chunks[1]],
      left: [{ kind: "unavailable" }],
    });
    const watched = hooked({});
    await backUp(through(repository, watched), [{ ...FULL, to: "b" }]);
    expect(watched.keys("put")).toContain(chunks[1]!);
  });
});

describe("verify()", () => {
  test("says of each point whether it is whole, and where it is not in bytes", async () => {
    const changed = [data(CHUNK_BYTES, noiseChunks(5, 6))];
    const [second] = await backUp(repository, [{
      from: "a",
      to: "b",
      sizeBytes: CONTENT.length,
      extents: changed,
    }]);
    await store.delete([chunks[1]!, chunks[2]!]);
    const { points } = await verified();
    expect(points).toEqual([
      expect.objectContaining({
        ...{ volume: VOLUME, backup, state: "damaged", chunks: 3, damaged_chunks: 2 },
        damaged_bytes: 2 * CHUNK_BYTES,
        ranges: [{ offset: CHUNK_BYTES, length: 2 * CHUNK_BYTES }],
      }),
      expect.objectContaining({ backup: second!.backup, state: "whole", damaged_chunks: 0, ranges: [] }),
    ]);
  });

  test("certifies nothing that it did not read", async () => {
    for (const sample of [{ kind: "none" }, { kind: "part", part: 0, parts: 7 }] as const) {
      expect((await verified({ sample })).points).toMatchObject([{ state: "there" }]);
    }
    expect((await verified()).points).toMatchObject([{ state: "whole" }]);
  });

  test("calls a point unreadable whose manifest is damaged, and goes on with the others", async () => {
    const [second] = await backUp(repository, [{ ...FULL, to: "b" }]);
    await flip(`${MANIFESTS}${VOLUME}/${backup}`);
    expect((await verified()).points).toMatchObject([
      { backup, state: "unreadable", time: null, chunks: null },
      { backup: second!.backup, state: "whole" },
    ]);
  });

  test("names a damaged hold, without calling a point damaged", async () => {
    await hold(
      repository,
      { project: PROJECT, volume: VOLUME, point: "a", reason: null, secrets: [] },
      testContext(),
    );
    const [held] = await keysOf(store, HOLDS);
    await flip(held!);
    const { findings, points } = await verified();
    expect(findings).toMatchObject([{ kind: "damaged", key: held, places: [] }]);
    expect(points).toMatchObject([{ state: "whole" }]);
  });

  test.each([0, 1, 91, 1_000_000])("finds a chunk of %d bytes without reading it", async (length) => {
    const bytes = new Uint8Array(length);
    await store.put(chunks[0]!, bytes);
    const { findings } = await verified({ sample: { kind: "none" } });
    expect(findings).toMatchObject([{ kind: "damaged", key: chunks[0] }]);
  });
});
