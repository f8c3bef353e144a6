/** listBackups() with the infos that this host remembers. */
import { expect, test } from "bun:test";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { listBackups } from "../../src/project/catalog.ts";
import {
  backUp,
  CHUNK_BYTES,
  keysOf,
  MANIFESTS,
  newRepository,
  newStore,
  noiseChunks,
  PROJECT,
} from "../kit/engine.ts";
import { testContext, through } from "../kit/engine.ts";
import { HookedStore } from "../kit/hooked_store.ts";
import { data } from "../kit/memory_source.ts";
import { scratchFolder } from "../kit/scratch.ts";

const cacheRoot = scratchFolder();

test("listBackups() reads only infos that it does not remember, and none that lie", async () => {
  const store = newStore();
  const hooked = new HookedStore(store, {});
  const repository = await newRepository(store);
  const take = async (seed: number) => {
    await backUp(repository, [{ sizeBytes: CHUNK_BYTES, extents: [data(0, noiseChunks(seed))] }]);
  };
  const list = async () => {
    hooked.calls.length = 0;
    const found = await listBackups(
      through(repository, hooked),
      { project: PROJECT, secrets: [] },
      testContext({ cacheRoot }),
    );
    return {
      ids: found.map(({ backup }) => backup),
      read: hooked.keys("get").filter((key) => key.startsWith(MANIFESTS)),
    };
  };
  const stored = async () =>
    (await keysOf(store, MANIFESTS)).map((key) => key.slice(key.lastIndexOf("/") + 1));
  await take(1);
  await take(2);
  expect((await list()).read.length).toBe(2);
  await take(3);
  const third = await list();
  expect(third.ids).toEqual(await stored());
  expect(third.read.length).toBe(1);
  await store.delete([(await keysOf(store, MANIFESTS))[0]!]);
  expect(await list()).toEqual({ ids: await stored(), read: [] });
  const path = join(cacheRoot, repository.id, PROJECT, "infos");
  const bytes = await readFile(path);
  for (const at of [0, 3, 40, bytes.length - 5]) {
    const lie = Uint8Array.from(bytes);
    lie[at]! ^= 0x10;
    await writeFile(path, lie);
    const told = await list();
    expect(told.ids).toEqual(await stored());
    expect(told.read.length).toBeGreaterThan(0);
  }
});
