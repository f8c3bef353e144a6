/** The lease of a backup: the order of its steps, and what happens when it is gone. docs/gc.md has the reasons. */
import { describe, expect, test } from "bun:test";
import { LEASE_REFRESH_MS } from "../../../src/project/sharing/lease.ts";
import { openProject } from "../../../src/project/open_project.ts";
import type { Repository } from "../../../src/project/repository.ts";
import { StoreError } from "../../../src/errors.ts";
import { fromUtf8 } from "../../../src/util/bytes.ts";
import { OBJECT_TYPE, objectType } from "../../../src/format/object.ts";
import type { Source } from "../../../src/sources/source.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  KEYS,
  keysOf,
  LEASES,
  MANIFESTS,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  PROJECT,
  restoreTo,
  testContext,
  through,
} from "../../kit/engine.ts";
import { HookedStore, type StoreCall, type StoreHooks } from "../../kit/hooked_store.ts";
import { data, memorySource, type TestDiff } from "../../kit/memory_source.ts";

const BASE: TestDiff = { to: "a", sizeBytes: 3 * CHUNK_BYTES, extents: [data(0, noiseChunks(1, 2, 3))] };
/** Needs a page, a chunk to fill up, and an upload. */
const NEXT: TestDiff = { from: "a", to: "b", sizeBytes: 3 * CHUNK_BYTES, extents: [data(5, noise(9, 5))] };

/** A repository with one backup, and the way to it through hooks. */
async function setUp(hooks: StoreHooks = {}) {
  const inner = newStore();
  const repository = await newRepository(inner);
  await backUp(repository, [BASE]);
  const store = new HookedStore(inner, hooks);
  return { repository, inner, store, hooked: through(repository, store) };
}

/** What a call is about, for short. */
function brief({ op, key }: StoreCall): string {
  const places = { [LEASES]: "lease", [MANIFESTS]: "manifest", [CHUNKS]: "chunk", [KEYS]: "keys" };
  const place = Object.entries(places).find(([prefix]) => key.startsWith(prefix))?.[1];
  return `${op} ${place ?? key.replace(`projects/${PROJECT}/`, "")}`;
}

async function leaseState(repository: Repository): Promise<unknown> {
  const project = await openProject(repository, { name: PROJECT, secrets: [] }, testContext());
  const [key] = await keysOf(repository.store, LEASES);
  const name = key!.slice(`projects/${PROJECT}/`.length);
  const { content } = await project.read({ type: OBJECT_TYPE.lease, name }, {});
  return JSON.parse(fromUtf8(content)!).state;
}

describe("backup()", () => {
  test("writes its lease before it reads plans or the base, and its manifest last", async () => {
    const { store, hooked } = await setUp();
    await backUp(hooked, [NEXT]);
    const calls = store.calls.map(brief);
    const chunks = calls.filter((call) => call.endsWith(" chunk"));
    expect(calls.filter((call) => !chunks.includes(call))).toEqual([
      "list keys",
      "get keys",
      "put lease",
      // Side by side.
      "head lease",
      "list gc/",
      "list marked/",
      "list marked/",
      "head keys",
      "list manifest",
      "list manifest",
      "get manifest",
      // Of all points, for those of one snapshot's name.
      "list manifest",
      "list manifest",
      "get manifest",
      "head keys",
      "list gc/",
      "head lease",
      "list lease",
      "put manifest",
      "head manifest",
      "head lease",
      "list lease",
      "head keys",
      "delete lease",
    ]);
    // All that is done to chunks and pages is done between the base's manifest and the new one; one is looked for behind it.
    expect(calls.indexOf("get manifest")).toBeLessThan(calls.findIndex((call) => chunks.includes(call)));
    const behind = calls.slice(calls.indexOf("put manifest")).filter((call) => chunks.includes(call));
    expect(behind).toEqual(["head chunk"]);
    expect(chunks).toContain("put chunk");
  });

  test("takes a new lease each time", async () => {
    const { store, hooked } = await setUp();
    for (let i = 0; i < 2; i++) await backUp(hooked, [BASE]);
    const leases = store.keys("put").filter((key) => key.startsWith(LEASES));
    expect(new Set(leases).size).toBe(2);
  });

  test("says conflict and writes no manifest when its lease was declared dead meanwhile", async () => {
    const { inner, store, hooked } = await setUp({
      before: async ({ op, key }) => {
        if (op === "put" && key.startsWith(CHUNKS)) await inner.delete(await keysOf(inner, LEASES));
      },
    });
    const error = await errorOf(backUp(hooked, [NEXT]));
    expect(error.code).toBe("conflict");
    expect(error.message).toStartWith(
      `Cannot finish the backup of "${PROJECT}/rbd/vm-1": its lease has expired`,
    );
    expect(store.keys("put").filter((key) => key.startsWith(MANIFESTS))).toEqual([]);
    expect((await keysOf(inner, MANIFESTS)).length).toBe(1);
    expect(await keysOf(inner, LEASES)).toEqual([]);
  });

  test("stays when its lease has expired right behind its manifest and nothing of it is", async () => {
    const warnings: string[] = [];
    const log = { ...testContext().log, warn: (_: object, text: string) => void warnings.push(text) };
    const { inner, hooked } = await setUp({
      after: async ({ op, key }) => {
        if (op === "put" && key.startsWith(MANIFESTS)) await inner.delete(await keysOf(inner, LEASES));
      },
    });
    await backUp(hooked, [NEXT], { context: testContext({ log }) });
    const [, stored] = await keysOf(inner, MANIFESTS);
    const id = stored!.split("/").at(-1);
    expect(warnings).toEqual([
      `restore point ${id} is stored; its lease had expired, so all its objects were checked`,
    ]);
  });

  test.each(["a chunk of its base", "its page"])(
    "says conflict and withdraws its manifest when its lease and %s are gone right behind it",
    async (what) => {
      const old = new Set<string>();
      const { inner, hooked } = await setUp({
        after: async ({ op, key }) => {
          if (op !== "put" || !key.startsWith(MANIFESTS)) return;
          const chunks = await keysOf(inner, CHUNKS);
          const types = await Promise.all(chunks.map(async (key) => objectType(await inner.get(key))));
          const wanted = what === "its page" ? OBJECT_TYPE.page : OBJECT_TYPE.chunk;
          const lost = chunks.filter((key, at) =>
            types[at] === wanted && old.has(key) === (wanted !== OBJECT_TYPE.page)
          );
          await inner.delete([...await keysOf(inner, LEASES), lost.at(-1)!]);
        },
      });
      for (const key of await keysOf(inner, CHUNKS)) old.add(key);
      expect((await errorOf(backUp(hooked, [NEXT]))).code).toBe("conflict");
      expect((await keysOf(inner, MANIFESTS)).length).toBe(1);
    },
  );

  test("says conflict and withdraws its manifest when its lease has expired and a plan condemns its chunk", async () => {
    const { inner, repository, hooked } = await setUp({
      after: async ({ op, key }) => {
        if (op !== "put" || !key.startsWith(MANIFESTS)) return;
        await inner.delete(await keysOf(inner, LEASES));
        await inner.put(`projects/${PROJECT}/gc/${"5e".repeat(16)}/all`, new Uint8Array(3)); // may condemn anything
      },
    });
    expect((await errorOf(backUp(hooked, [NEXT]))).code).toBe("conflict");
    expect((await keysOf(repository.store, MANIFESTS)).length).toBe(1);
  });

  test("withdraws its manifest when it cannot see whether its lease is there", async () => {
    let isWritten = false;
    const failure = new StoreError("Cannot reach it", { retryable: true });
    const { inner, hooked } = await setUp({
      before: ({ op, key }) => {
        if (op === "head" && key.startsWith(LEASES) && isWritten) throw failure;
        isWritten ||= op === "put" && key.startsWith(MANIFESTS);
      },
    });
    expect(await errorOf(backUp(hooked, [NEXT]))).toBe(failure);
    expect((await keysOf(inner, MANIFESTS)).length).toBe(1);
  });

  test("says conflict and withdraws its manifest when what it stored is gone right behind it", async () => {
    const { inner, store, hooked } = await setUp({
      after: async ({ op, key }) => {
        if (op !== "put" || !key.startsWith(MANIFESTS)) return;
        await inner.delete(store.keys("put").filter((key) => key.startsWith(CHUNKS)));
      },
    });
    const before = await keysOf(inner, MANIFESTS);
    const error = await errorOf(backUp(hooked, [NEXT]));
    expect(error.code).toBe("conflict");
    expect(error.message).toEndWith(
      "missing but was not deleted, so the store may have been reset to an older copy; retry",
    );
    expect(await keysOf(inner, MANIFESTS)).toEqual(before);
  });

  test("says which manifest it could not withdraw when deleting is refused", async () => {
    const errors: object[] = [];
    const log = { ...testContext().log, error: (fields: object) => errors.push(fields) };
    const { inner, hooked } = await setUp({
      after: async ({ op, key }) => {
        if (op !== "put" || !key.startsWith(MANIFESTS)) return;
        await inner.delete([...await keysOf(inner, LEASES), ...await keysOf(inner, CHUNKS)]);
      },
      refuse: (key) => key.startsWith(MANIFESTS),
    });
    expect((await errorOf(backUp(hooked, [NEXT], { context: testContext({ log }) }))).code).toBe("conflict");
    const [, left] = await keysOf(inner, MANIFESTS);
    expect(errors).toEqual([{ key: left, reason: "locked" }]);
  });

  test("removes its lease at the end, also of a source that fails", async () => {
    const { inner, hooked } = await setUp();
    await backUp(hooked, [NEXT]);
    expect(await keysOf(inner, LEASES)).toEqual([]);
    const failing = memorySource([NEXT], () => {
      throw new StoreError("x", { retryable: false });
    });
    await errorOf(backUp(hooked, failing));
    expect(await keysOf(inner, LEASES)).toEqual([]);
  });

  test("writes a final state into its lease when deleting is refused", async () => {
    const { repository, hooked } = await setUp({ refuse: () => true });
    await backUp(hooked, [NEXT]);
    expect(await leaseState(repository)).toBe("ended");
  });

  test("says so, and is done all the same, when its lease cannot be ended", async () => {
    const warnings: object[] = [];
    const log = { ...testContext().log, warn: (fields: object) => warnings.push(fields) };
    const failure = new StoreError("Cannot delete", { retryable: true });
    const { repository, hooked } = await setUp({
      before: ({ op }) => {
        if (op === "delete") throw failure;
      },
    });
    await backUp(hooked, [NEXT], { context: testContext({ log }) });
    expect(warnings).toEqual([expect.objectContaining({ lease: expect.any(String) })]);
    expect((await keysOf(repository.store, MANIFESTS)).length).toBe(2);
  });
});

/** A context whose sleeps end when the test says so, and a source that holds on until `go` resolves. */
function slow(go: Promise<void>) {
  const sleeps: { ms: number; end: () => void }[] = [];
  const context = testContext({
    clock: {
      now: () => 0,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          sleeps.push({ ms, end: resolve });
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        }),
    },
  });
  const inner = memorySource([NEXT]);
  const source: Source = {
    ...inner,
    async *diffs() {
      await go;
      yield* inner.diffs();
    },
  };
  return { sleeps, context, source };
}

describe("Lease", () => {
  test("is written again each time that it is due, while the backup runs", async () => {
    const { promise: go, resolve: finish } = Promise.withResolvers<void>();
    const { sleeps, context, source } = slow(go);
    let leases = 0;
    const { hooked, repository } = await setUp({
      after: ({ op, key }) => {
        if (op === "list" && key.endsWith("gc/")) sleeps[0]!.end();
        if (op !== "put" || !key.startsWith(LEASES)) return;
        // The third is the second refresh: its sleep begins once the first is done.
        if (++leases === 3) finish();
        else if (leases === 2) queueMicrotask(() => void endNext());
      },
    });
    const endNext = async () => {
      while (sleeps.length < 2) await new Promise(setImmediate);
      sleeps[1]!.end();
    };
    await backUp(hooked, source, { context });
    expect(leases).toBe(3);
    expect(sleeps.map(({ ms }) => ms)).toEqual([LEASE_REFRESH_MS, LEASE_REFRESH_MS, LEASE_REFRESH_MS]);
    expect(await keysOf(repository.store, LEASES)).toEqual([]);
  });

  test("is not written again once it is gone: what was declared dead stays dead", async () => {
    const { promise: go, resolve: finish } = Promise.withResolvers<void>();
    const { sleeps, context, source } = slow(go);
    let heads = 0;
    const { inner, store, hooked } = await setUp({
      after: async ({ op, key }) => {
        if (op === "list" && key.endsWith("gc/")) {
          await inner.delete(await keysOf(inner, LEASES));
          sleeps[0]!.end();
        }
        // The first is the backup's own, the second the refresh's.
        if (op === "head" && key.startsWith(LEASES) && ++heads === 2) finish();
      },
    });
    expect((await errorOf(backUp(hooked, source, { context }))).code).toBe("conflict");
    expect(store.keys("put").filter((key) => key.startsWith(LEASES)).length).toBe(1);
  });

  test("goes on being refreshed when a refresh failed, and says so", async () => {
    const { promise: go, resolve: finish } = Promise.withResolvers<void>();
    const { sleeps, context, source } = slow(go);
    const warnings: string[] = [];
    context.log = { ...context.log, warn: (_, text) => warnings.push(text) };
    let leases = 0;
    const { hooked } = await setUp({
      before: ({ op, key }) => {
        if (op === "put" && key.startsWith(LEASES) && ++leases === 2) {
          queueMicrotask(() => void endNext());
          throw new StoreError("not now", { retryable: true });
        }
      },
      after: ({ op, key }) => {
        if (op === "list" && key.endsWith("gc/")) sleeps[0]!.end();
        if (op === "put" && key.startsWith(LEASES) && leases === 3) finish();
      },
    });
    const endNext = async () => {
      while (sleeps.length < 2) await new Promise(setImmediate);
      sleeps[1]!.end();
    };
    await backUp(hooked, source, { context });
    expect(warnings).toEqual(["could not refresh the lease; retrying later"]);
  });
});

describe("restore()", () => {
  test("holds a lease from before it reads the catalogue until its end", async () => {
    const { store, hooked, inner } = await setUp();
    await restoreTo(hooked);
    const calls = store.calls.map(brief);
    expect(calls.slice(0, 6)).toEqual([
      "list keys",
      "get keys",
      "put lease",
      "list manifest",
      "list manifest",
      "get manifest",
    ]);
    expect(calls.at(-1)).toBe("delete lease");
    expect(await keysOf(inner, LEASES)).toEqual([]);
  });

  test("goes on without a lease where it may not write", async () => {
    const { hooked } = await setUp({
      before: ({ op }) => {
        if (op === "put") throw new StoreError("Access denied", { retryable: false });
      },
    });
    expect(Buffer.compare(await bytesOf(hooked), noiseChunks(1, 2, 3))).toBe(0);
  });

  test("fails when it cannot write its lease but may", async () => {
    const failure = new StoreError("Service unavailable", { retryable: true });
    const { hooked } = await setUp({
      before: ({ op }) => {
        if (op === "put") throw failure;
      },
    });
    expect(await errorOf(restoreTo(hooked))).toBe(failure);
  });

  test("removes its lease when it fails", async () => {
    const { hooked, inner } = await setUp();
    await errorOf(restoreTo(hooked, { point: "no-such-point" }));
    expect(await keysOf(inner, LEASES)).toEqual([]);
  });
});
