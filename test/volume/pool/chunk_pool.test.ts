/** The pool with real worker threads: chunks through shared memory, and workers that throw, die or are not there. */
import { afterAll, describe, expect, test } from "bun:test";
import path from "node:path";
import { chunkId, differentBlocks, LeafHasher, patchId } from "../../../src/codec/ids.ts";
import { deriveKeys, type ProjectKeys } from "../../../src/codec/keys.ts";
import { type ObjectName, openContent, openFront, sealedBytes, sealObject } from "../../../src/codec/seal.ts";
import { DamageError, describeError } from "../../../src/errors.ts";
import { toHex } from "../../../src/util/bytes.ts";
import { chunkName, type ObjectRef } from "../../../src/format/layout.ts";
import type { Range } from "../../../src/util/ranges.ts";
import { BLOCK_BYTES, leavesBytes } from "../../../src/format/limits.ts";
import { OBJECT_TYPE } from "../../../src/format/object.ts";
import { BlockSet, encodePatchFront } from "../../../src/format/patch.ts";
import { BufferPool, type SharedBuffer } from "../../../src/volume/pool/buffers.ts";
import { type ChunkBuffer, chunkBufferBytes, ChunkPool } from "../../../src/volume/pool/chunk_pool.ts";
import { flipBit, flippedBits } from "../../kit/damage.ts";
import { CHUNK_BYTES, errorOf, noise } from "../../kit/engine.ts";

const KEYS = deriveKeys(new Uint8Array(32).fill(1), "acme");
const SEALED_BYTES = sealedBytes(leavesBytes(CHUNK_BYTES), CHUNK_BYTES);
const into = await newBuffer(chunkBufferBytes(CHUNK_BYTES));
const sealed = await newBuffer(SEALED_BYTES);
const pool = new ChunkPool({ threads: 2, chunkBytes: CHUNK_BYTES });
afterAll(() => pool.close());

function newBuffer(sizeBytes: number): Promise<SharedBuffer> {
  return new BufferPool(1, sizeBytes).acquire();
}

async function chunkOf(content: Uint8Array): Promise<ChunkBuffer> {
  const buffer = await newBuffer(chunkBufferBytes(CHUNK_BYTES));
  buffer.bytes.fill(0xee);
  buffer.bytes.set(content);
  return { buffer, length: content.length };
}

/** The leaves and the id, made in this thread. */
function namesOf(content: Uint8Array): { leaves: Uint8Array; id: Uint8Array } {
  const leaves = new Uint8Array(leavesBytes(content.length));
  new LeafHasher(KEYS).write(content, leaves);
  return { leaves, id: chunkId(KEYS.idKey, content.length, leaves) };
}

function nameOf(ref: ObjectRef): ObjectName {
  return { type: OBJECT_TYPE.chunk, name: chunkName(ref), key: "k" };
}

/** Opens the object of `ref` in the pool. */
async function open(bytes: Uint8Array, ref: ObjectRef): Promise<{ length: number; bytes: Uint8Array }> {
  sealed.bytes.set(bytes);
  const length = await pool.open(into, { ref, sealed, sealedLength: bytes.length, keys: KEYS, key: "k" });
  return { length, bytes: into.bytes.subarray(0, length) };
}

const CONTENTS = [
  noise(1, CHUNK_BYTES),
  noise(2, 5000),
  new Uint8Array(CHUNK_BYTES).fill(3),
  new Uint8Array([1]),
];

describe("ChunkPool.hash()", () => {
  test("gives the id, and writes the leaves behind the chunk", async () => {
    for (const content of CONTENTS) {
      const chunk = await chunkOf(content);
      const { leaves, id } = namesOf(content);
      expect(await pool.hash(chunk, KEYS)).toEqual(id);
      const written = chunk.buffer.bytes.subarray(CHUNK_BYTES, CHUNK_BYTES + leaves.length);
      expect(toHex(written)).toBe(toHex(leaves));
    }
  });

  test("takes the leaves of the ranges that are known as they are, and does not look at their bytes", async () => {
    const content = noise(4, 5 * BLOCK_BYTES + 9);
    const chunk = await chunkOf(content);
    const { leaves, id } = namesOf(content);
    const known = [{ from: 0, to: BLOCK_BYTES }, { from: 3 * BLOCK_BYTES, to: content.length }];
    for (const { from, to } of known) chunk.buffer.bytes.fill(0xdd, from, to);
    chunk.buffer.bytes.set(leaves, CHUNK_BYTES);
    chunk.buffer.bytes.fill(0, CHUNK_BYTES + 16, CHUNK_BYTES + 48); // those that are to be made
    expect(await pool.hash(chunk, KEYS, known)).toEqual(id);
    expect(toHex(chunk.buffer.bytes.subarray(CHUNK_BYTES, CHUNK_BYTES + leaves.length))).toBe(toHex(leaves));
  });

  test("gives undefined for zeros, whatever the buffer holds behind them", async () => {
    expect(await pool.hash(await chunkOf(new Uint8Array(5000)), KEYS)).toBeUndefined();
  });
});

describe("ChunkPool.seal() and open()", () => {
  test("seal a hashed chunk with its leaves in front, and open it again", async () => {
    for (const content of CONTENTS) {
      const chunk = await chunkOf(content);
      const { leaves, id } = namesOf(content);
      for (const lease of [undefined, new Uint8Array(16).fill(9)]) {
        await pool.hash(chunk, KEYS);
        const length = await pool.seal(chunk, { ref: { id, lease }, sealed, keys: KEYS });
        const object = sealed.bytes.slice(0, length);
        expect(Buffer.compare(openContent(object, nameOf({ id, lease }), KEYS), content)).toBe(0);
        expect(openFront(object, nameOf({ id, lease }), KEYS)).toEqual(leaves);
        const opened = await open(object, { id, lease });
        expect(Buffer.compare(opened.bytes, content)).toBe(0);
      }
    }
  });

  test("open() says damage when a bit is flipped anywhere", async () => {
    const content = new Uint8Array(4096).fill(1);
    const { leaves: front, id } = namesOf(content);
    const ref = { id, lease: undefined };
    const object = sealObject({ ...nameOf(ref), front, content }, KEYS);
    const contentAt = 32 + leavesBytes(content.length) + 28;
    for (let bit = 0; bit < object.length * 8; bit++) {
      const at = bit >>> 3;
      // The front is not read here.
      if (at >= 32 && at < contentAt) continue;
      const error = await errorOf(open(flipBit(object, bit), ref));
      expect([error instanceof DamageError, (error as DamageError).key]).toEqual([true, "k"]);
    }
  });

  test("open() says damage when the object is well sealed but holds another chunk", async () => {
    const ref = { id: namesOf(noise(1, 100)).id, lease: undefined };
    const object = sealObject({ ...nameOf(ref), content: noise(2, 100) }, KEYS);
    expect((await errorOf(open(object, ref))).message).toStartWith(
      'Cannot read "k": its content is not the chunk',
    );
  });

  test("open() says damage when the content is longer than a chunk", async () => {
    const content = new Uint8Array(CHUNK_BYTES + 1);
    const { leaves: front, id } = namesOf(content);
    const ref = { id, lease: undefined };
    const error = await errorOf(open(sealObject({ ...nameOf(ref), front, content }, KEYS), ref));
    expect(error).toBeInstanceOf(DamageError);
  });
});

/** A patch that the pool has sealed, and the chunk that it makes of its base. */
async function patchOf(
  content: Uint8Array,
  base: Uint8Array,
): Promise<{ object: Uint8Array; ref: ObjectRef }> {
  const chunk = await chunkOf(content);
  const id = await pool.hash(chunk, KEYS);
  const under: ObjectRef = { id: namesOf(base).id, lease: undefined };
  const blocks = differentBlocks(namesOf(content).leaves, namesOf(base).leaves, content.length);
  const ref = { id: patchId(KEYS.patchKey, id!, under), lease: undefined };
  const length = await pool.seal(chunk, {
    ref,
    patch: { base: under, blocks },
    sealed,
    keys: KEYS,
  });
  return { object: sealed.bytes.slice(0, length), ref };
}

/** Puts the base's leaves, and `content`, into `into`, and has the patch applied to it. */
async function apply(
  object: Uint8Array,
  { ref, base, content = base, wanted }: {
    ref: ObjectRef;
    base: Uint8Array;
    content?: Uint8Array;
    wanted?: readonly Range[];
  },
): Promise<Uint8Array> {
  into.bytes.set(content);
  into.bytes.set(namesOf(base).leaves, CHUNK_BYTES);
  sealed.bytes.set(object);
  const sealedObject = { ref, sealed, sealedLength: object.length, keys: KEYS, key: "k" };
  return await pool.apply(into, sealedObject, wanted);
}

describe("ChunkPool.seal() and apply() of a patch", () => {
  const BASE = noise(1, CHUNK_BYTES - 100);
  const CONTENT = BASE.slice();
  CONTENT.set(noise(2, BLOCK_BYTES), 3 * BLOCK_BYTES);
  CONTENT.set(noise(3, 10), 15 * BLOCK_BYTES);

  test("make the chunk and its leaves of the base, with nothing but the blocks in the object", async () => {
    const { object, ref } = await patchOf(CONTENT, BASE);
    expect(object.length).toBeLessThan(2 * BLOCK_BYTES + 200);
    expect(await apply(object, { ref, base: BASE })).toEqual(namesOf(CONTENT).id);
    expect(Buffer.compare(into.bytes.subarray(0, CONTENT.length), CONTENT)).toBe(0);
    const { leaves } = namesOf(CONTENT);
    expect(toHex(into.bytes.subarray(CHUNK_BYTES, CHUNK_BYTES + leaves.length))).toBe(toHex(leaves));
  });

  test("write only the blocks that are wanted, and the leaves of all", async () => {
    const { object, ref } = await patchOf(CONTENT, BASE);
    const content = new Uint8Array(CHUNK_BYTES).fill(0xee);
    const wanted = [{ from: 2 * BLOCK_BYTES, to: 4 * BLOCK_BYTES }];
    expect(await apply(object, { ref, base: BASE, content, wanted })).toEqual(namesOf(CONTENT).id);
    content.set(CONTENT.subarray(3 * BLOCK_BYTES, 4 * BLOCK_BYTES), 3 * BLOCK_BYTES);
    expect(Buffer.compare(into.bytes.subarray(0, CHUNK_BYTES), content)).toBe(0);
    const { leaves } = namesOf(CONTENT);
    expect(toHex(into.bytes.subarray(CHUNK_BYTES, CHUNK_BYTES + leaves.length))).toBe(toHex(leaves));
  });

  test("apply() says damage when a bit is flipped anywhere, and when the object is cut", async () => {
    const content = BASE.slice();
    content.set(new Uint8Array(BLOCK_BYTES).fill(7), 0);
    const { object, ref } = await patchOf(content, BASE);
    expect(object.length).toBeLessThan(400);
    const damaged = [...flippedBits(object), ...Array.from(object, (_, cut) => object.slice(0, cut))];
    for (const bytes of damaged) {
      const error = await errorOf(apply(bytes, { ref, base: BASE }));
      expect([error instanceof DamageError, (error as DamageError).key]).toEqual([true, "k"]);
    }
  });

  test("apply() says damage when it is applied to other leaves, or is another patch", async () => {
    const { object, ref } = await patchOf(CONTENT, BASE);
    const other = BASE.slice();
    other[0]! ^= 1;
    expect((await errorOf(apply(object, { ref, base: other }))).message).toStartWith(
      'Cannot read "k": it is not the patch',
    );
    const name = { ...ref, id: noise(9, 32) };
    expect(await errorOf(apply(object, { ref: name, base: BASE }))).toBeInstanceOf(DamageError);
  });

  test("apply() says damage when the object is well sealed, and its front does not fit it", async () => {
    const { ref } = await patchOf(CONTENT, BASE);
    const under = { id: namesOf(BASE).id, lease: undefined };
    const frontOf = (length: number, ...list: number[]) => {
      const blocks = new BlockSet(length);
      for (const block of list) blocks.add(block);
      return encodePatchFront({ base: under, length, blocks });
    };
    const block = noise(2, BLOCK_BYTES);
    const objects = [
      { front: frontOf(CHUNK_BYTES, 3, 4), content: block },
      { front: frontOf(CHUNK_BYTES), content: block },
      { front: frontOf(2 * CHUNK_BYTES, 30), content: block },
      { front: new Uint8Array(7), content: block },
      { content: block },
    ];
    for (const object of objects) {
      const bytes = sealObject({ ...nameOf(ref), type: OBJECT_TYPE.patch, ...object }, KEYS);
      expect(await errorOf(apply(bytes, { ref, base: BASE }))).toBeInstanceOf(DamageError);
    }
  });

  test("open() takes no patch for a chunk, and apply() no chunk for a patch", async () => {
    const { object, ref } = await patchOf(CONTENT, BASE);
    expect(await errorOf(open(object, ref))).toBeInstanceOf(DamageError);
    const { leaves: front, id } = namesOf(CONTENT);
    const whole = { id, lease: undefined };
    const chunk = sealObject({ ...nameOf(whole), front, content: CONTENT }, KEYS);
    expect(await errorOf(apply(chunk, { ref: whole, base: BASE }))).toBeInstanceOf(DamageError);
  });
});

/** A pool over another worker file. */
async function withWorker(file: string, use: (pool: ChunkPool) => Promise<void>): Promise<void> {
  const place = globalThis as { VARVE_CHUNK_WORKER?: string };
  place.VARVE_CHUNK_WORKER = path.join(import.meta.dir, file);
  const pool = new ChunkPool({ threads: 1, chunkBytes: CHUNK_BYTES });
  try {
    await use(pool);
  } finally {
    delete place.VARVE_CHUNK_WORKER;
    await pool.close();
  }
}

const [THROWS, DIES, WORKS] = [1, 2, 0].map((byte) => ({ ...KEYS, id: new Uint8Array([byte]) })) as [
  ProjectKeys,
  ProjectKeys,
  ProjectKeys,
];

describe("ChunkPool", () => {
  test("rejects a task that throws in the worker, keeps the cause, and goes on", async () => {
    await withWorker("failing_worker.ts", async (pool) => {
      const error = await errorOf(pool.hash(await chunkOf(noise(1, 9)), THROWS));
      expect(describeError(error)).toBe(
        "Cannot work on chunks: a worker thread failed: thrown in the worker",
      );
      expect(await pool.hash(await chunkOf(noise(1, 9)), WORKS)).toBeDefined();
    });
  });

  test("rejects the task that a worker dies of, and does the others with a new one", async () => {
    await withWorker("failing_worker.ts", async (pool) => {
      const chunk = await chunkOf(noise(1, 9));
      const [dead, ...others] = [DIES, WORKS, WORKS].map((task) => pool.hash(chunk, task));
      expect(describeError(await errorOf(dead!))).toBe(
        "Cannot work on chunks: a worker thread failed: worker exited with code: 3",
      );
      expect(await Promise.all(others)).toEqual([new Uint8Array(32), new Uint8Array(32)]);
    });
  });

  test("rejects when the worker cannot be loaded", async () => {
    await withWorker("no_such_worker.ts", async (pool) => {
      const error = await errorOf(pool.hash(await chunkOf(noise(1, 9)), WORKS));
      expect(error.message).toBe("Cannot work on chunks: a worker thread failed");
    });
  });

  test("rejects what is under way when it is closed", async () => {
    const pool = new ChunkPool({ threads: 1, chunkBytes: CHUNK_BYTES });
    const work = errorOf(pool.hash(await chunkOf(noise(1, CHUNK_BYTES)), KEYS));
    await pool.close();
    expect((await work).message).toBe("Cannot work on chunks: a worker thread failed");
  });
});
