import { expect, test } from "bun:test";
import { MemoryStore } from "../../src/store/memory.ts";
import { bytes, describeContract } from "../kit/store_contract.ts";

describeContract("MemoryStore", () => Promise.resolve({ store: new MemoryStore() }));

test("MemoryStore.put() takes the time from its own clock when one is given", async () => {
  const store = new MemoryStore({ now: () => 1234 });
  await store.put("a", bytes("x"));
  expect((await store.head("a"))?.modifiedMs).toBe(1234);
});
