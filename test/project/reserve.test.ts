/** The reserve: given up where the store is full, made again where there is room. */
import { describe, expect, test } from "bun:test";
import { StoreError } from "../../src/errors.ts";
import { RESERVE_KEY } from "../../src/format/layout.ts";
import { refillReserve, spendingReserve } from "../../src/project/reserve.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { testContext } from "../kit/engine.ts";
import { HookedStore } from "../kit/hooked_store.ts";
import { rejection } from "../kit/rejection.ts";
import { bytes } from "../kit/store_contract.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const context = testContext();

/** A store with room for `roomBytes`. */
function smallStore(roomBytes: number) {
  const inner = new MemoryStore();
  const put = inner.put.bind(inner);
  inner.put = async (key, body) => {
    let used = 0;
    for await (const info of inner.list("")) if (info.key !== key) used += info.sizeBytes;
    if (used + body.length > roomBytes) {
      throw new StoreError("Cannot write: full", { retryable: false, isFull: true });
    }
    await put(key, body);
  };
  return new HookedStore(inner);
}

const reserveBytes = async (store: HookedStore) => (await store.head(RESERVE_KEY))?.sizeBytes;

describe("refillReserve()", () => {
  test.each([
    [100 * MIB, 4 * MIB],
    [3 * MIB, 2 * MIB],
    [64 * KIB, 64 * KIB],
    [63 * KIB, undefined],
  ])("of a store with room for %d bytes makes one of %p bytes", async (roomBytes, expected) => {
    const store = smallStore(roomBytes);
    await refillReserve(store, context);
    expect(await reserveBytes(store)).toBe(expected!);
  });

  test("leaves one that is there", async () => {
    const store = smallStore(100 * MIB);
    await store.put(RESERVE_KEY, bytes("x"));
    await refillReserve(store, context);
    expect(await reserveBytes(store)).toBe(1);
  });

  test("never fails", async () => {
    const failing = new HookedStore(new MemoryStore(), {
      before: () => {
        throw new StoreError("Cannot reach the store", { retryable: true });
      },
    });
    await refillReserve(failing, context);
  });
});

describe("spendingReserve()", () => {
  test("gives the reserve up for a write that there is no room for", async () => {
    const store = smallStore(4 * MIB);
    await refillReserve(store, context);
    await spendingReserve(store, context).put("lease", bytes("hello"));
    expect([await reserveBytes(store), (await store.get("lease")).length]).toEqual([undefined, 5]);
  });

  test("keeps it while there is room", async () => {
    const store = smallStore(5 * MIB);
    await refillReserve(store, context);
    await spendingReserve(store, context).put("lease", bytes("hello"));
    expect(await reserveBytes(store)).toBe(4 * MIB);
  });

  test("fails as the store does when the reserve is of no help, or the failure is another one", async () => {
    const store = smallStore(4 * MIB);
    const body = new Uint8Array(5 * MIB);
    expect(await rejection(spendingReserve(store, context).put("a", body))).toMatchObject({ isFull: true });
    const refused = new StoreError("Cannot write: refused", { retryable: false });
    const refusing = new HookedStore(new MemoryStore(), {
      before: ({ op }) => {
        if (op === "put") throw refused;
      },
    });
    expect(await rejection(spendingReserve(refusing, context).put("a", bytes("x")))).toBe(refused);
    expect(refusing.keys("delete")).toEqual([]);
  });
});
