/** PageTable: against a plain map, with more pages than it keeps in memory, and with pages that are stored slowly. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { deriveKeys } from "../../src/codec/keys.ts";
import { PageTable, type PageWriter } from "../../src/volume/page_table.ts";
import { Project } from "../../src/project/project.ts";
import { toHex } from "../../src/util/bytes.ts";
import { type Entry, EntryList, wholeAt } from "../../src/format/entries.ts";
import { chunkName } from "../../src/format/layout.ts";
import { PAGE_CHUNKS } from "../../src/format/limits.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { CHUNK_BYTES } from "../kit/engine.ts";
import { HookedStore } from "../kit/hooked_store.ts";

const KEYS = deriveKeys(new Uint8Array(32), "p");
/** More than are kept in memory. */
const MANY = 40;

function setUp() {
  const store = new HookedStore(new MemoryStore());
  const repository = { id: "r", store, chunkBytes: CHUNK_BYTES };
  const project = new Project(repository, "p", {
    keys: new Map([[toHex(KEYS.id), KEYS]]),
    encryption: "none",
    damaged: new Map(),
    findKey: async () => undefined,
  });
  const nothing = { find: async () => undefined, keep: () => {} };
  const options = { project, keys: KEYS, local: nothing, signal: new AbortController().signal };
  const write: PageWriter = async (id, content) => {
    const ref = { id, lease: undefined };
    await project.write({ type: OBJECT_TYPE.page, name: chunkName(ref), content }, { keys: KEYS });
    return ref;
  };
  return { store, write, open: (pages: EntryList) => new PageTable(pages, options) };
}

function entry(byte: number): Entry {
  return byte === 0 ? undefined : wholeAt({ id: new Uint8Array(32).fill(byte), lease: undefined });
}

type Change = { kind: "set"; position: number; byte: number } | {
  kind: "zeros";
  position: number;
  count: number;
};

// Few positions in each of many pages, and runs of zeros that begin and end at and beside their borders.
const position = fc.tuple(fc.nat(MANY - 1), fc.constantFrom(0, 1, PAGE_CHUNKS - 1)).map(([page, at]) =>
  page * PAGE_CHUNKS + at
);
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("set" as const), position, byte: fc.nat(3) }) },
  fc.record({
    kind: fc.constant("zeros" as const),
    position,
    count: fc.oneof(
      fc.nat(2),
      fc.tuple(fc.nat(3), fc.nat(2)).map(([pages, more]) => pages * PAGE_CHUNKS + more),
    ),
  }),
);

function applyTo(model: Map<number, number>, change: Change): void {
  if (change.kind === "set") model.set(change.position, change.byte);
  else {for (const at of model.keys()) {
      if (at >= change.position && at < change.position + change.count) model.delete(at);
    }}
}

async function applyToTable(table: PageTable, change: Change, write: PageWriter): Promise<void> {
  if (change.kind === "set") await table.set(change.position, entry(change.byte), write);
  else await table.setZeros(change.position, change.count, write);
}

describe("PageTable", () => {
  test("holds what a plain map holds, over several generations of a table", async () => {
    const generations = fc.array(
      fc.record({ changes: fc.array(change, { maxLength: 60, size: "max" }), chunks: position }),
      { minLength: 1, maxLength: 3 },
    );
    await fc.assert(
      fc.asyncProperty(generations, async (generations) => {
        const { write, open } = setUp();
        let pages = new EntryList(0);
        const model = new Map<number, number>();
        for (const { changes, chunks } of generations) {
          const table = open(pages);
          for (const change of changes) {
            applyTo(model, change);
            await applyToTable(table, change, write);
          }
          pages = await table.finish(chunks, write);
          applyTo(model, { kind: "zeros", position: chunks, count: Infinity });
          expect(pages.length).toBe(Math.ceil(chunks / PAGE_CHUNKS));
          const read = open(pages);
          for (let page = 0; page < MANY; page++) {
            for (const at of [0, 1, 2, PAGE_CHUNKS - 1]) {
              const position = page * PAGE_CHUNKS + at;
              expect(await read.get(position)).toEqual(entry(model.get(position) ?? 0));
            }
          }
        }
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  test("finish() names pages of zeros by nothing, and the same content by the same page", async () => {
    const { write, open } = setUp();
    const first = open(new EntryList(0));
    await first.set(5, entry(1), write);
    await first.set(PAGE_CHUNKS + 5, entry(1), write);
    await first.set(2 * PAGE_CHUNKS, entry(1), write);
    await first.set(2 * PAGE_CHUNKS, undefined, write);
    const pages = await first.finish(3 * PAGE_CHUNKS, write);
    expect(pages.get(0)).toEqual(pages.get(1));
    expect(pages.get(0)).toBeDefined();
    expect(pages.get(2)).toBeUndefined();
  });

  test("finish() stores nothing again when nothing changed", async () => {
    const { store, write, open } = setUp();
    const first = open(new EntryList(0));
    await first.set(5, entry(1), write);
    const pages = await first.finish(10, write);
    const puts = store.keys("put").length;
    const second = open(pages);
    await second.get(5);
    expect(await second.finish(10, write)).toEqual(pages);
    expect(store.keys("put").length).toBe(puts);
  });

  test("setZeros() loads no page that it makes zeros as a whole", async () => {
    const { store, write, open } = setUp();
    const first = open(new EntryList(0));
    await first.set(5, entry(1), write);
    const second = open(await first.finish(PAGE_CHUNKS, write));
    await second.setZeros(0, PAGE_CHUNKS, write);
    expect((await second.finish(PAGE_CHUNKS, write)).get(0)).toBeUndefined();
    expect(store.keys("get")).toEqual([]);
  });

  /** A table that is just about to store page 0, the oldest, for one page more than it keeps. */
  async function whileStoring() {
    const { write, open } = setUp();
    const table = open(new EntryList(0));
    const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const slow: PageWriter = async (...args) => {
      reached.resolve();
      await gate.promise;
      return await write(...args);
    };
    for (let page = 0; page < 32; page++) await table.set(page * PAGE_CHUNKS, entry(1), slow);
    const pushing = table.set(32 * PAGE_CHUNKS, entry(1), slow);
    await reached.promise;
    const stored = () => (gate.resolve(), pushing);
    return { table, write, open, stored };
  }

  test("setZeros() of a page that is just being stored leaves zeros", async () => {
    const { table, write, stored } = await whileStoring();
    await table.setZeros(0, PAGE_CHUNKS, write);
    await stored();
    expect(await table.get(0)).toBeUndefined();
    expect((await table.finish(33 * PAGE_CHUNKS, write)).get(0)).toBeUndefined();
  });

  test("set() on a page that is just being stored is kept", async () => {
    const { table, write, open, stored } = await whileStoring();
    await table.set(1, entry(2), write);
    await stored();
    const read = open(await table.finish(33 * PAGE_CHUNKS, write));
    expect([await read.get(0), await read.get(1)]).toEqual([entry(1), entry(2)]);
  });

  test("get() keeps a bounded number of pages in memory", async () => {
    const { store, write, open } = setUp();
    const first = open(new EntryList(0));
    for (let page = 0; page < MANY; page++) await first.set(page * PAGE_CHUNKS, entry(page + 1), write);
    const second = open(await first.finish(MANY * PAGE_CHUNKS, write));
    const reads = async () => {
      const before = store.keys("get").length;
      for (let page = 0; page < MANY; page++) await second.get(page * PAGE_CHUNKS);
      return store.keys("get").length - before;
    };
    expect(await reads()).toBe(MANY);
    // Had they all stayed in memory, there would be none.
    expect(await reads()).toBeGreaterThan(0);
  });
});
