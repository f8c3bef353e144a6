/** backup() of a volume whose newest manifest cannot be read. */
import { expect, test } from "bun:test";
import {
  backUp,
  bytesOf,
  errorOf,
  keysOf,
  MANIFESTS,
  newRepository,
  newStore,
  noiseChunks,
} from "../kit/engine.ts";
import { CHUNK_BYTES } from "../kit/engine.ts";
import { flipBit } from "../kit/damage.ts";
import { data } from "../kit/memory_source.ts";

test("backup() goes on with a full stream when the newest manifest is damaged, and not with a difference to it", async () => {
  const store = newStore();
  const repository = await newRepository(store);
  const content = noiseChunks(1, 2);
  const full = { to: "a", sizeBytes: 2 * CHUNK_BYTES, extents: [data(0, content)] };
  await backUp(repository, [full]);
  const [key] = await keysOf(store, MANIFESTS);
  await store.put(key!, flipBit(await store.get(key!), 8 * 200));
  const difference = { from: "a", to: "b", sizeBytes: 2 * CHUNK_BYTES, extents: [] };
  expect((await errorOf(backUp(repository, [difference]))).code).toBe("damage");
  const [report] = await backUp(repository, [full]);
  expect(await bytesOf(repository, { point: report!.backup })).toEqual(content);
});
