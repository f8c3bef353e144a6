/** Restores in place: what is compared, what is downloaded, and what the target sees. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { InterruptedError } from "../../../src/errors.ts";
import {
  backUp,
  bytesOf,
  CHUNK_BYTES,
  CHUNKS,
  errorOf,
  keysOf,
  LEASES,
  newRepository,
  newStore,
  noise,
  noiseChunks,
  restoreTo,
  testContext,
  through,
} from "../../kit/engine.ts";
import { HookedStore, type StoreHooks } from "../../kit/hooked_store.ts";
import { data } from "../../kit/memory_source.ts";

const CHUNK_COUNT = 9;
/** Zeros at 2 and 3, one content twice, a short chunk at the end. */
const VOLUME = new Uint8Array([
  ...noiseChunks(1, 2),
  ...new Uint8Array(2 * CHUNK_BYTES),
  ...noiseChunks(1, 3, 4, 5),
  ...noise(6, 10_000),
]);
const isZero = (position: number) => position === 2 || position === 3;

async function setUp(hooks: StoreHooks = {}) {
  const inner = newStore();
  const repository = await newRepository(inner);
  await backUp(repository, [{ sizeBytes: VOLUME.length, extents: [data(0, VOLUME)] }]);
  const store = new HookedStore(inner, hooks);
  return { inner, repository, store, hooked: through(repository, store) };
}

/** How each chunk of the target differs from the volume. */
type State = "same" | "one byte" | "noise" | "zeros";

function targetWith(states: readonly State[], sizeBytes: number): Uint8Array {
  const target = VOLUME.slice();
  for (const [position, state] of states.entries()) {
    const chunk = target.subarray(position * CHUNK_BYTES, (position + 1) * CHUNK_BYTES);
    if (state === "one byte") chunk[chunk.length - 1]! ^= 1;
    if (state === "noise") chunk.set(noise(77 + position, chunk.length));
    if (state === "zeros") chunk.fill(0);
  }
  const sized = noise(5, sizeBytes);
  sized.set(target.subarray(0, sizeBytes));
  return sized;
}

describe("restore() onto a target that holds something", () => {
  const { promise: ready, resolve } = Promise.withResolvers<Awaited<ReturnType<typeof setUp>>>();
  void setUp().then(resolve);

  test("makes it the volume, and downloads only the chunks that differ and are not zeros", async () => {
    const { hooked, store } = await ready;
    const states = fc.array(fc.constantFrom<State>("same", "same", "one byte", "noise", "zeros"), {
      minLength: CHUNK_COUNT,
      maxLength: CHUNK_COUNT,
    });
    const size = fc.oneof(fc.constant(VOLUME.length), fc.nat(VOLUME.length + 2 * CHUNK_BYTES));
    await fc.assert(
      fc.asyncProperty(states, size, async (states, sizeBytes) => {
        const content = targetWith(states, sizeBytes);
        const before = store.calls.length;
        const { report, target } = await restoreTo(hooked, { content });
        const expected = VOLUME.slice();
        expect(Buffer.compare(target.bytes.subarray(0, VOLUME.length), expected)).toBe(0);
        expect(Buffer.compare(target.bytes.subarray(VOLUME.length), content.subarray(VOLUME.length))).toBe(0);
        const differs = Array.from({ length: CHUNK_COUNT }, (_, i) => {
          const [from, to] = [i * CHUNK_BYTES, Math.min((i + 1) * CHUNK_BYTES, VOLUME.length)];
          const isThere = to <= content.length;
          return !isThere || Buffer.compare(content.subarray(from, to), VOLUME.subarray(from, to)) !== 0;
        });
        const changed = [...differs.keys()].filter((i) => differs[i]);
        const fetched = changed.filter((i) => !isZero(i));
        expect(report.chunks).toEqual({
          total: CHUNK_COUNT,
          zero: changed.length - fetched.length,
          matched: CHUNK_COUNT - changed.length,
          written: fetched.length,
        });
        const gets = store.calls.slice(before).filter(({ op, key }) =>
          op === "get" && key.startsWith(CHUNKS)
        );
        // One more for the page.
        expect(gets.length).toBe(fetched.length + 1);
        expect(target.writes.map(({ offset }) => offset / CHUNK_BYTES)).toEqual(changed);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  test("writes nothing when it is the volume already, and counts what it read", async () => {
    const { hooked } = await ready;
    const { report, target } = await restoreTo(hooked, { content: VOLUME });
    expect(target.writes).toEqual([]);
    expect(report).toMatchObject({ downloaded_bytes: 0, written_bytes: 0, damaged: [] });
  });

  test("writes zeros where the volume has zeros and the target does not", async () => {
    const { hooked } = await ready;
    const { target } = await restoreTo(hooked, { content: noise(8, VOLUME.length) });
    expect(Buffer.compare(target.bytes, VOLUME)).toBe(0);
  });
});

describe("restore()", () => {
  test("leaves out zeros when the target is empty, and writes them to a stream", async () => {
    const { hooked } = await setUp();
    const empty = await restoreTo(hooked);
    expect(empty.target.writes.map(({ offset }) => offset / CHUNK_BYTES)).toEqual([0, 1, 4, 5, 6, 7, 8]);
    const stream = await restoreTo(hooked, { sequential: true });
    expect(stream.target.writes.length).toBe(CHUNK_COUNT);
    for (const { target } of [empty, stream]) expect(Buffer.compare(target.bytes, VOLUME)).toBe(0);
  });

  test("writes in ascending order, whichever download is done first", async () => {
    let turns = 0;
    const { hooked } = await setUp({
      before: async ({ op, key }) => {
        // The first ones wait longest.
        if (op !== "get" || !key.startsWith(CHUNKS)) return;
        for (let left = 40 - 5 * turns++; left > 0; left--) await new Promise(setImmediate);
      },
    });
    const { target } = await restoreTo(hooked, { sequential: true });
    expect(Buffer.compare(target.bytes, VOLUME)).toBe(0);
  });

  test("has synced and closed the target when it is done", async () => {
    const { target } = await restoreTo((await setUp()).hooked);
    expect([target.synced, target.closed]).toEqual([true, true]);
  });

  test("restores a volume of no bytes, and one of a single byte", async () => {
    const repository = await newRepository();
    for (const volume of [new Uint8Array(), new Uint8Array([7])]) {
      await backUp(repository, [{ sizeBytes: volume.length, extents: [data(0, volume)] }]);
      expect(await bytesOf(repository)).toEqual(volume);
    }
  });

  test("ends with the signal's reason when it is interrupted at any call, and leaves no lease", async () => {
    const reason = new InterruptedError();
    const { store } = await setUp().then(async (one) => {
      await restoreTo(one.hooked);
      return one;
    });
    // Not the last, which removes the lease: it is too late then.
    for (let k = 0; k < store.calls.length - 1; k++) {
      const stop = new AbortController();
      let count = 0;
      const { hooked, inner } = await setUp({
        before: () => {
          if (count++ === k) stop.abort(reason);
        },
      });
      const error = await errorOf(restoreTo(hooked, { context: testContext({ signal: stop.signal }) }));
      expect([k, error]).toEqual([k, reason]);
      expect(await keysOf(inner, LEASES)).toEqual([]);
    }
  }, 60_000);
});
