/** traceRequests(): each request is reported once, with its bytes, time and outcome, and nothing else changes. */
import { describe, expect, test } from "bun:test";
import { InterruptedError, StoreError } from "../../../src/errors.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import type { ObjectVersions, Store } from "../../../src/store/store.ts";
import { type StoreRequest, traceRequests } from "../../../src/store/wrappers/trace.ts";
import { VersionedStore } from "../../kit/versioned_store.ts";
import { rejection } from "../../kit/rejection.ts";
import { bytes, describeContract } from "../../kit/store_contract.ts";
import { FaultyStore, refused, unavailable } from "../../kit/faulty_store.ts";

/** A clock that goes on by a millisecond each time it is read. */
function traced(inner: Store) {
  const requests: StoreRequest[] = [];
  let nowMs = 0;
  const store = traceRequests(inner, { onRequest: (request) => requests.push(request), now: () => nowMs++ });
  return { store, requests };
}

describeContract("traceRequests()", () => Promise.resolve({ store: traced(new MemoryStore()).store }));

describe("traceRequests()", () => {
  test("reports method, key, bytes, time and outcome of each request", async () => {
    const { store, requests } = traced(new MemoryStore());
    await store.put("a/one", bytes("hello"));
    await store.get("a/one");
    await store.get("a/one", { range: { offset: 1, length: 3 } });
    await store.head("a/one");
    await Array.fromAsync(store.list("a/"));
    await Array.fromAsync(store.folders(""));
    await store.delete(["a/one", "a/two"]);
    expect(requests).toEqual([
      { method: "put", key: "a/one", bytes: 5, ms: 1, outcome: "done" },
      { method: "get", key: "a/one", bytes: 5, ms: 1, outcome: "done" },
      { method: "get", key: "a/one", offset: 1, bytes: 3, ms: 1, outcome: "done" },
      { method: "head", key: "a/one", bytes: 5, ms: 1, outcome: "done" },
      { method: "list", key: "a/", count: 1, ms: 2, outcome: "done" },
      { method: "folders", key: "", count: 1, ms: 2, outcome: "done" },
      { method: "delete", key: "a/one", count: 2, ms: 1, outcome: "done" },
    ]);
  });

  test("reports an object that is not there as missing, and passes the error on", async () => {
    const { store, requests } = traced(new MemoryStore());
    const error = await rejection(store.get("none"));
    expect(error).toMatchObject({ name: "MissingError", key: "none" });
    expect(await store.head("none")).toBeUndefined();
    expect(requests.map(({ method, outcome }) => [method, outcome])).toEqual([
      ["get", "missing"],
      ["head", "missing"],
    ]);
  });

  test("reports why a request failed", async () => {
    const { store, requests } = traced(
      new FaultyStore(new MemoryStore(), () => ({ kind: "fail", error: refused() })),
    );
    expect(await rejection(store.put("a", bytes("x")))).toBeInstanceOf(StoreError);
    expect(requests).toEqual([
      { method: "put", key: "a", bytes: 1, ms: 1, outcome: "failed", reason: refused().message },
    ]);
  });

  test("reports a request that was aborted as aborted", async () => {
    const { store, requests } = traced(new FaultyStore(new MemoryStore(), () => ({ kind: "hang" })));
    const controller = new AbortController();
    const ended = rejection(store.get("a", { signal: controller.signal }));
    controller.abort(new InterruptedError());
    expect(await ended).toBeInstanceOf(InterruptedError);
    expect(requests).toMatchObject([{ method: "get", key: "a", outcome: "aborted" }]);
  });

  test("reports a listing once when it breaks off, with the entries that came", async () => {
    const inner = new MemoryStore();
    for (const key of ["a", "b"]) await inner.put(key, bytes(key));
    const error = unavailable();
    const { store, requests } = traced(new FaultyStore(inner, () => ({ kind: "lost", error })));
    expect(await rejection(Array.fromAsync(store.list("")))).toBe(error);
    expect(requests).toMatchObject([{ method: "list", key: "", count: 1, outcome: "failed" }]);
  });

  test("reports a listing when its reader has seen enough, and closes the store's own", async () => {
    let isClosed = false;
    const inner = new MemoryStore();
    inner.list = async function* () {
      try {
        for (const key of ["a", "b"]) yield { key, sizeBytes: 0, modifiedMs: 0 };
      } finally {
        isClosed = true;
      }
    };
    const { store, requests } = traced(inner);
    for await (const _ of store.list("")) break;
    expect({ isClosed, requests }).toMatchObject({
      isClosed: true,
      requests: [{ count: 1, outcome: "done" }],
    });
  });

  test("reports the requests to a store's history, and gives a store without one none", async () => {
    const inner = new VersionedStore();
    await inner.put("a", bytes("1"));
    await inner.put("a", bytes("2"));
    const { store, requests } = traced(inner);
    const history = store.history as ObjectVersions;
    const { traces } = await history.page("", {});
    await history.lockOf(traces[0]!, {});
    await history.remove(traces, {});
    expect(requests.map(({ method, key, count }) => ({ method, key, count }))).toEqual([
      { method: "versions", key: "", count: 2 },
      { method: "lock", key: "a", count: undefined },
      { method: "remove", key: "a", count: 2 },
    ]);
    expect(traced(new MemoryStore()).store.history).toBeUndefined();
  });
});
