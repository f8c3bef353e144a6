/** BufferPool: a fixed number of buffers, handed on in the order of asking. */
import { describe, expect, test } from "bun:test";
import { BufferPool, type SharedBuffer } from "../../../src/volume/pool/buffers.ts";

/** Lets every promise that can go on go on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

describe("BufferPool", () => {
  test("acquire() gives as many buffers of shared memory as there are, each another", async () => {
    const pool = new BufferPool(3, 10);
    const buffers = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
    expect(new Set(buffers.map(({ bytes }) => bytes.buffer)).size).toBe(3);
    for (const { bytes } of buffers) {
      expect(bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
      expect(bytes.length).toBe(10);
    }
  });

  test("acquire() waits when all are taken, and gets what is released in the order of asking", async () => {
    const pool = new BufferPool(2, 10);
    const [a, b] = [await pool.acquire(), await pool.acquire()];
    const got: [string, SharedBuffer][] = [];
    for (const name of ["first", "second", "third"]) {
      void pool.acquire().then((buffer) => got.push([name, buffer]));
    }
    await settle();
    expect(got).toEqual([]);
    b.release();
    await settle();
    a.release();
    await settle();
    expect(got.map(([name, { bytes }]) => [name, bytes === b.bytes, bytes === a.bytes])).toEqual([
      ["first", true, false],
      ["second", false, true],
    ]);
    got[0]![1].release();
    await settle();
    expect(got[2]![0]).toBe("third");
    expect(got[2]![1].bytes).toBe(b.bytes);
  });

  test("release() gives a buffer back once, however often it is called", async () => {
    const pool = new BufferPool(1, 10);
    const first = await pool.acquire();
    first.release();
    first.release();
    const second = await pool.acquire();
    // The one who had it before must not give it away again under its new holder.
    first.release();
    let third: SharedBuffer | undefined;
    void pool.acquire().then((buffer) => third = buffer);
    await settle();
    expect(third).toBeUndefined();
    second.release();
    await settle();
    expect(third?.bytes).toBe(second.bytes);
  });
});
