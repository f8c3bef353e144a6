/** PresentObjects and StoredObjects: what they answer, and how many requests that takes. */
import { describe, expect, test } from "bun:test";
import { PresentObjects } from "../../src/volume/present_objects.ts";
import { StoredObjects } from "../../src/volume/stored_objects.ts";
import { Project } from "../../src/project/project.ts";
import { chunkName, type ObjectRef } from "../../src/format/layout.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import type { ListOptions, ObjectInfo } from "../../src/store/store.ts";
import { errorOf, PROJECT } from "../kit/engine.ts";

const { signal } = new AbortController();

/** As S3 does: a request for each thousand keys that are taken. */
class CountingStore extends MemoryStore {
  heads = 0;
  lists = 0;
  readonly #shards = new Map<string, ObjectInfo[]>();

  override async head(key: string) {
    this.heads++;
    return await super.head(key);
  }

  override async *list(prefix: string, { after = "" }: ListOptions = {}) {
    let shard = this.#shards.get(prefix);
    if (shard === undefined) this.#shards.set(prefix, shard = await Array.fromAsync(super.list(prefix)));
    let count = 0;
    this.lists++;
    for (const info of shard) {
      if (info.key <= after) continue;
      if (++count > 1000) [count, this.lists] = [1, this.lists + 1];
      yield info;
    }
  }

  get requests(): number {
    return this.heads + this.lists;
  }
}

function refOf(number: number, lease?: Uint8Array): ObjectRef {
  return { id: new Bun.CryptoHasher("sha256").update(`${number}`).digest() as Uint8Array, lease };
}

/** A project with `count` objects, each of so many bytes as its number says. */
async function setUp(count: number) {
  const store = new CountingStore();
  const project = new Project({ id: "", store, chunkBytes: 65_536 }, PROJECT, {
    keys: new Map(),
    encryption: "none",
    damaged: new Map(),
    findKey: () => Promise.resolve(undefined),
  });
  for (let number = 0; number < count; number++) {
    await store.put(project.objectKey(chunkName(refOf(number))), new Uint8Array(number % 50 + 1));
  }
  return { store, project };
}

describe("PresentObjects", () => {
  test.each([[10, 10, 10], [300, 2048, 64], [20_000, 2048, 64]])(
    "says the size of each of %d objects, asked for %d, with at most %d requests",
    async (count, asked, most) => {
      const { store, project } = await setUp(count);
      const present = new PresentObjects(project, { signal });
      const sizes = await Promise.all(
        Array.from({ length: asked }, (_, number) => present.sizeOf(refOf(number))),
      );
      expect(sizes).toEqual(sizes.map((_, number) => number < count ? number % 50 + 1 : undefined));
      expect(store.requests).toBeLessThanOrEqual(most);
    },
  );

  test("asks for few of many, and lists no part to its end", async () => {
    const { store, project } = await setUp(50_000);
    const present = new PresentObjects(project, { signal, expected: 40 });
    for (let number = 0; number < 40; number++) {
      expect(await present.sizeOf(refOf(number))).toBe(number % 50 + 1);
    }
    // The first page of each part tells that there are too many.
    expect(store.heads).toBeGreaterThan(20);
    expect(store.lists).toBeLessThanOrEqual(16);
  });

  test("lists what takes fewer requests than questions", async () => {
    const { store, project } = await setUp(5000);
    const present = new PresentObjects(project, { signal });
    for (let number = 0; number < 100; number++) {
      expect(await present.sizeOf(refOf(number))).toBe(number % 50 + 1);
    }
    expect(store.heads + store.lists).toBeLessThan(50);
  });

  test("knows keys with a suffix, and takes an empty object for none", async () => {
    const { store, project } = await setUp(300);
    const lease = new Uint8Array(16).fill(7);
    await store.put(project.objectKey(chunkName(refOf(1, lease))), new Uint8Array(77));
    await store.put(project.objectKey(chunkName(refOf(2))), new Uint8Array(0));
    for (const expected of [undefined, 1000]) {
      const present = new PresentObjects(project, { signal, expected });
      expect(await present.sizeOf(refOf(1, lease))).toBe(77);
      expect(await present.sizeOf(refOf(3, lease))).toBeUndefined();
      expect(await present.sizeOf(refOf(2))).toBeUndefined();
      expect(await present.sizeOf(refOf(1))).toBe(2);
    }
  });
});

describe("StoredObjects", () => {
  test.each([[10, 10], [1000, 32], [2048, 32]])(
    "looks at %d objects with at most %d requests, and once",
    async (count, requests) => {
      const { store, project } = await setUp(count);
      const stored = new StoredObjects(project, { signal });
      for (let number = 0; number < count; number++) await stored.add(refOf(number), number % 50 + 1);
      await stored.check();
      const first = store.requests;
      expect(first).toBeLessThanOrEqual(requests);
      await stored.check();
      expect(store.requests).toBe(first);
    },
  );

  test.each([10, 2000])("finds one of %d that is not there, or of another size", async (count) => {
    for (const bytes of [undefined, 99, 0]) {
      const { store, project } = await setUp(count);
      const stored = new StoredObjects(project, { signal });
      const key = project.objectKey(chunkName(refOf(5)));
      await store.delete([key]);
      if (bytes !== undefined) await store.put(key, new Uint8Array(bytes));
      for (let number = 0; number < count; number++) await stored.add(refOf(number), number % 50 + 1);
      expect((await errorOf(stored.check())).message).toContain(key);
    }
  });
});
