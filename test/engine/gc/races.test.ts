/** Two hosts at once: the same volume, the same chunks, the same new project. Whatever the order, both points are whole. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Repository } from "../../../src/project/repository.ts";
import type { Store } from "../../../src/store/store.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  emptyRepository,
  ensureProject,
  KEYS,
  keysOf,
  LEASES,
  makeProject,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  through,
} from "../../kit/engine.ts";
import { HookedStore } from "../../kit/hooked_store.ts";
import { data, type TestDiff } from "../../kit/memory_source.ts";

const BASE = noiseChunks(1, 2, 3);
const FULL: TestDiff = { to: "a", sizeBytes: BASE.length, extents: [data(0, BASE)] };

/** What a host stores, and what the point then holds. */
interface Host {
  diff: TestDiff;
  volume: Uint8Array;
}

function full(volume: Uint8Array, to?: string): Host {
  return { diff: { to, sizeBytes: volume.length, extents: [data(0, volume)] }, volume };
}

function change(at: number, seed: number): Host {
  const bytes = noise(seed, 1000);
  const volume = BASE.slice();
  volume.set(bytes, at);
  return { diff: { from: "a", sizeBytes: volume.length, extents: [data(at, bytes)] }, volume };
}

/** A host's way to the store that holds on before each call for some turns of the event loop. */
function slow(store: Store, turns: readonly number[]): Store {
  let call = 0;
  return new HookedStore(store, {
    before: async () => {
      for (let left = turns[call++ % turns.length]!; left > 0; left--) await new Promise(setImmediate);
    },
  });
}

const pace = fc.array(fc.oneof(fc.nat(3), fc.nat(60)), { minLength: 5, maxLength: 15 });

async function race(
  repository: Repository,
  hosts: readonly Host[],
  paces: readonly number[][],
): Promise<void> {
  const points = await Promise.all(hosts.map(async ({ diff }, i) => {
    const [report] = await backUp(through(repository, slow(repository.store, paces[i]!)), [diff]);
    return report!.backup;
  }));
  expect(new Set(points).size).toBe(hosts.length);
  for (const [i, point] of points.entries()) {
    expect(Buffer.compare(await bytesOf(repository, { point }), hosts[i]!.volume)).toBe(0);
  }
  expect(await keysOf(repository.store, LEASES)).toEqual([]);
}

describe("two backups of one volume at the same time", () => {
  const pairs = {
    "two increments on one base": [change(10, 7), change(CHUNK_BYTES + 10, 8)],
    "the same increment twice": [change(10, 7), change(10, 7)],
    "a full one beside an increment": [full(noiseChunks(4, 2, 5, 6)), change(10, 7)],
  };

  test.each(Object.entries(pairs))("are both whole, in any order of their calls: %s", async (_, hosts) => {
    await fc.assert(
      fc.asyncProperty(pace, pace, async (first, second) => {
        const repository = await newRepository();
        await backUp(repository, [FULL]);
        await race(repository, hosts, [first, second]);
      }),
      { numRuns: 10 },
    );
  }, 60_000);
});

describe("two hosts that make the same project at the same time", () => {
  test("both leave points that are whole, in any order of their calls", async () => {
    await fc.assert(
      fc.asyncProperty(pace, pace, async (first, second) => {
        const repository = await emptyRepository();
        await Promise.all(
          [first, second].map((pace) => ensureProject(through(repository, slow(repository.store, pace)))),
        );
        await race(repository, [full(noiseChunks(1, 2)), full(noiseChunks(2, 3))], [
          first,
          second,
        ]);
      }),
      { numRuns: 15 },
    );
  }, 60_000);

  async function makeAndBackUp(repository: Repository, diff: TestDiff) {
    await makeProject(repository);
    return await backUp(repository, [diff]);
  }

  /**
   * Both see no key. One makes its own and goes on until `until`; then the other makes its own, backs up and is done, all
   * before the first goes on.
   */
  async function overtaken(
    until: (store: HookedStore) => boolean,
  ): Promise<{ keys: string[]; first: string }> {
    const inner = newStore();
    const repository = await emptyRepository(inner);
    const [seenNone, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const late = new HookedStore(inner, {
      before: async ({ op, key }) => {
        if (op !== "put" || !key.startsWith(KEYS)) return;
        seenNone.resolve();
        await go.promise;
      },
    });
    const second = makeAndBackUp(through(repository, late), FULL);
    await seenNone.promise;
    let isOvertaken = false;
    const early: HookedStore = new HookedStore(inner, {
      after: async () => {
        if (isOvertaken || !until(early)) return;
        isOvertaken = true;
        go.resolve();
        await second;
      },
    });
    const [report] = await makeAndBackUp(through(repository, early), full(noiseChunks(4, 5)).diff);
    const [other] = await second;
    expect(Buffer.compare(await bytesOf(repository, { point: report!.backup }), noiseChunks(4, 5))).toBe(0);
    expect(Buffer.compare(await bytesOf(repository, { point: other!.backup }), BASE)).toBe(0);
    // And both can be gone on with.
    await backUp(repository, [{ from: "a", to: "b", sizeBytes: BASE.length, extents: [] }]);
    expect(Buffer.compare(await bytesOf(repository), BASE)).toBe(0);
    const keys = await keysOf(inner, KEYS);
    return { keys, first: early.keys("put")[0]! };
  }

  const moments: [string, (store: HookedStore) => boolean][] = [
    ["its own key is written", (store) => store.keys("put").length === 1],
    ["it has seen the keys", (store) => store.keys("list").filter((key) => key === KEYS).length === 2],
    ["its lease is written", (store) => store.keys("put").some((key) => key.startsWith(LEASES))],
  ];

  test.each(moments)(
    "both leave points that are whole when one overtakes the other once %s",
    async (_, until) => {
      // Which key is the smaller one is by chance: until both have been.
      const orders = new Set<boolean>();
      for (let tries = 0; orders.size < 2; tries++) {
        expect(tries).toBeLessThan(50);
        const { keys, first } = await overtaken(until);
        expect(keys.length).toBe(2);
        orders.add(keys[0] === first);
      }
    },
    30_000,
  );
});
