/**
 * A store that fails, loses a reply, or an operator who interrupts, at every single call of a backup: there is a manifest
 * if and only if the backup says so, earlier points stay, and a retry works.
 */
import { describe, expect, test } from "bun:test";
import { InterruptedError, StoreError, VarveError } from "../../src/errors.ts";
import { openRepository } from "../../src/project/repository.ts";
import type { Store } from "../../src/store/store.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  errorOf,
  keysOf,
  LEASES,
  MANIFESTS,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  testContext,
  through,
} from "../kit/engine.ts";
import { HookedStore, type StoreCall, type StoreHooks } from "../kit/hooked_store.ts";
import { data, type TestDiff } from "../kit/memory_source.ts";

const FIRST: TestDiff = { to: "a", sizeBytes: 4 * CHUNK_BYTES, extents: [data(0, noiseChunks(1, 2, 3, 4))] };
const BEFORE = noiseChunks(1, 2, 3, 4);
/** A chunk to fill up, one that is new, one that another position has. */
const SECOND: TestDiff = {
  from: "a",
  to: "b",
  sizeBytes: 4 * CHUNK_BYTES,
  extents: [data(5, noise(9, 5)), data(CHUNK_BYTES, noiseChunks(8, 8))],
};
const AFTER = noiseChunks(1, 8, 8, 4);
AFTER.set(noise(9, 5), 5);

const BROKEN = new StoreError("Cannot reach the store", { retryable: false });
/** What the last of many attempts ends with: nothing is known of what the store did. */
const LOST = new StoreError("Cannot write it: no connection", { retryable: true });

/** What a hook does to the call of this number. */
type Fault = (call: StoreCall, stop: AbortController) => void;

interface Outcome {
  /** What the backup threw; `undefined` where it was done. */
  error: VarveError | undefined;
  calls: StoreCall[];
  inner: Store;
  manifests: string[];
}

/** Runs the second backup with a fault at its call `k`. */
async function run(k: number, hook: "before" | "after", fault: Fault): Promise<Outcome> {
  const inner = newStore();
  const repository = await newRepository(inner);
  await backUp(repository, [FIRST]);
  const stop = new AbortController();
  let count = 0;
  const hooks: StoreHooks = {
    [hook]: (call: StoreCall) => {
      if (count++ === k) fault(call, stop);
    },
  };
  const store = new HookedStore(inner, hooks);
  const work = backUp(through(repository, store), [SECOND], {
    context: testContext({ signal: stop.signal }),
  });
  const error = await work.then(() => undefined, (error: unknown) => error);
  if (error !== undefined && !(error instanceof VarveError)) throw error;
  return { error, calls: store.calls, inner, manifests: await keysOf(inner, MANIFESTS) };
}

/** All points are what they were, and the backup can be made. */
async function checkRetry({ inner, manifests }: Outcome): Promise<void> {
  const repository = await openRepository(inner, testContext());
  await backUp(repository, [SECOND]);
  expect(Buffer.compare(await bytesOf(repository, { point: "b" }), AFTER)).toBe(0);
  expect(Buffer.compare(await bytesOf(repository, { point: "a" }), BEFORE)).toBe(0);
  expect((await keysOf(inner, MANIFESTS)).length).toBe(manifests.length + 1);
}

/** The calls of a backup to which nothing happens. */
const calls = (await run(-1, "before", () => {})).calls;
const numbers = calls.map(({ op, key }, k) => [k, `${op} ${key.replace(/[0-9a-f]{16,}/g, "…")}`] as const);

test("a backup makes the calls that the faults below are for", () => {
  const count = (op: StoreCall["op"]) => calls.filter((call) => call.op === op).length;
  expect(calls.length).toBeGreaterThan(15);
  // Lease, two chunks, page, manifest.
  expect(count("put")).toBe(5);
});

describe("backup() over a store that fails once", () => {
  test.each(numbers)(
    "at call %i (%s) fails without a manifest, or is done, and can be made again",
    async (k) => {
      const outcome = await run(k, "before", () => {
        throw BROKEN;
      });
      const isLast = calls[k]!.op === "delete";
      // Only the removal of the lease may fail without a word but a warning.
      expect(outcome.error).toBe(isLast ? undefined : BROKEN);
      expect(outcome.manifests.length).toBe(isLast ? 2 : 1);
      await checkRetry(outcome);
    },
  );
});

const manifestPut = calls.findIndex(({ op, key }) => op === "put" && key.startsWith(MANIFESTS));

describe("backup() over a store that does a put but loses its reply", () => {
  const puts = numbers.filter(([k]) => calls[k]!.op === "put");

  test.each(puts)("at call %i (%s) fails, or finds its manifest, and can be made again", async (k) => {
    const outcome = await run(k, "after", () => {
      throw LOST;
    });
    expect(outcome.error).toBe(k === manifestPut ? undefined : LOST);
    expect(outcome.manifests.length).toBe(k === manifestPut ? 2 : 1);
    await checkRetry(outcome);
  });
});

describe("backup() whose manifest may be on its way", () => {
  /** The store fails from the manifest's put on: before it is done, or after. */
  async function fail(hook: "before" | "after", fault: (call: StoreCall, stop: AbortController) => void) {
    const inner = newStore();
    const repository = await newRepository(inner);
    const stop = new AbortController();
    let isOver = false;
    const store = new HookedStore(inner, {
      [hook]: (call: StoreCall) => {
        isOver ||= call.op === "put" && call.key.startsWith(MANIFESTS);
        if (isOver) fault(call, stop);
      },
    });
    const context = testContext({ signal: stop.signal });
    const error = await errorOf(backUp(through(repository, store), [FIRST], { context }));
    return { error, inner, manifests: await keysOf(inner, MANIFESTS) };
  }

  test("says that it is not there, and what if, where the store takes no writes but can be asked", async () => {
    const { error, manifests } = await fail("before", ({ op }) => {
      if (op === "put") throw LOST;
    });
    expect(manifests).toEqual([]);
    expect([error.code, error.cause]).toEqual(["failed", LOST]);
    expect(error.message).toMatch(/^Cannot store "acme\/rbd\/vm-1@\S+": the store does not have it; /);
  });

  test("says how to find out where the store does not answer any more", async () => {
    const { error, manifests } = await fail("after", () => {
      throw LOST;
    });
    expect([error.code, error.cause, manifests.length]).toEqual(["failed", LOST, 1]);
    const backup = manifests[0]!.slice(manifests[0]!.lastIndexOf("/") + 1);
    expect(error.message).toBe(
      `Cannot finish the restore point: the store did not confirm "acme/rbd/vm-1@${backup}"; ` +
        `check with "varve list acme/rbd/vm-1"`,
    );
  });

  test("says so too when it is interrupted while it looks", async () => {
    const { error } = await fail("after", ({ op }, stop) => {
      if (op === "head") stop.abort(new InterruptedError());
      throw LOST;
    });
    expect([error.code, error.message]).toEqual([
      "interrupted",
      expect.stringMatching(/^Interrupted: the store did not confirm "\S+"; check with "varve list \S+"$/),
    ]);
  });

  test("takes a refusal for one, and asks nothing", async () => {
    const { error } = await fail("before", () => {
      throw BROKEN;
    });
    expect(error).toBe(BROKEN);
  });
});

describe("backup() that is interrupted", () => {
  const reason = new InterruptedError();

  test.each(numbers)("before call %i (%s) leaves a manifest only where it is done", async (k) => {
    const outcome = await run(k, "before", (_, stop) => stop.abort(reason));
    // Once the manifest is under way it is too late.
    const isDone = k >= manifestPut;
    if (!isDone) expect(outcome.error).toBe(reason);
    else if (outcome.error !== undefined) {
      expect(outcome.error).toBeInstanceOf(InterruptedError);
      expect(outcome.error.message).toContain("the restore point was committed");
    }
    expect(outcome.manifests.length).toBe(isDone ? 2 : 1);
    expect((await keysOf(outcome.inner, LEASES)).length).toBe(0);
    await checkRetry(outcome);
  });

  test("before it begins writes nothing", async () => {
    const inner = newStore();
    const repository = await newRepository(inner);
    const before = await keysOf(inner, "");
    const signal = AbortSignal.abort(reason);
    expect(await errorOf(backUp(repository, [FIRST], { context: testContext({ signal }) }))).toBe(reason);
    expect(await keysOf(inner, "")).toEqual(before);
  });
});
