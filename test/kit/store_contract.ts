/** What every store must do: one suite that the memory, directory and S3 stores run, the last on real servers. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { InterruptedError, MissingError, StoreError } from "../../src/errors.ts";
import type { Store } from "../../src/store/store.ts";
import { rejection } from "./rejection.ts";

/** One more than a page of an S3 listing and a batch of its deletes holds. */
const MANY = 1001;
const MIB = 1024 * 1024;
/** Listing and deleting a thousand objects on a real server may take longer than bun's five seconds. */
const TIMEOUT_MS = 60_000;

export interface ContractStore {
  store: Store;
  stop?: () => Promise<void>;
}

/** Declares the suite for one store. `make` gives an empty one. */
export function describeContract(name: string, make: () => Promise<ContractStore>): void {
  describe(`${name} as a store`, () => {
    let made: ContractStore;
    beforeAll(async () => void (made = await make()), TIMEOUT_MS);
    afterAll(() => made?.stop?.(), TIMEOUT_MS);
    const check = (title: string, run: (store: Store) => Promise<void>) =>
      test(title, () => run(made.store), TIMEOUT_MS);

    describeReading(check);
    describeWriting(check);
    describeListing(check);
    describeDeleting(check);
    describeAborting(check);
    describeKeys(check);
  });
}

type Check = (title: string, run: (store: Store) => Promise<void>) => void;

function describeReading(check: Check): void {
  check("get() resolves to what was put when the object is there", async (store) => {
    await store.put("get/a", bytes("hello"));
    expect(text(await store.get("get/a"))).toBe("hello");
  });
  check("get() throws MissingError when there is no object", async (store) => {
    await store.put("get/a", bytes("hello"));
    const error = await rejection(store.get("get/none"));
    expect(error).toBeInstanceOf(MissingError);
    expect((error as MissingError).key).toBe("get/none");
    expect(await rejection(store.get("get/none", { range: { offset: 0, length: 1 } }))).toBeInstanceOf(
      MissingError,
    );
  });
  check("get() throws MissingError when the key is only the beginning of others", async (store) => {
    await store.put("deep/in/side", bytes("x"));
    expect(await rejection(store.get("deep/in"))).toBeInstanceOf(MissingError);
    expect(await store.head("deep/in")).toBeUndefined();
  });
  check("get() throws MissingError when the key goes on behind an object", async (store) => {
    await store.put("get/a", bytes("hello"));
    expect(await rejection(store.get("get/a/b"))).toBeInstanceOf(MissingError);
    expect(await store.head("get/a/b")).toBeUndefined();
  });
  check("get() reads a range when one is asked for", async (store) => {
    await store.put("get/range", bytes("0123456789"));
    const read = async (offset: number, length: number) =>
      text(await store.get("get/range", { range: { offset, length } }));
    expect(await read(0, 1)).toBe("0");
    expect(await read(3, 4)).toBe("3456");
    expect(await read(0, 10)).toBe("0123456789");
    expect(await read(9, 1)).toBe("9");
  });
  check("get() gives fewer bytes or none when the range passes the end", async (store) => {
    await store.put("get/range", bytes("0123456789"));
    const read = async (offset: number, length: number) =>
      text(await store.get("get/range", { range: { offset, length } }));
    expect(await read(8, 5)).toBe("89");
    expect(await read(0, 1000)).toBe("0123456789");
    expect(await read(10, 1)).toBe("");
    expect(await read(11, 5)).toBe("");
  });
  check("get() gives no bytes when the object is empty", async (store) => {
    await store.put("get/empty", new Uint8Array(0));
    expect(await store.get("get/empty")).toEqual(new Uint8Array(0));
    expect(await store.get("get/empty", { range: { offset: 0, length: 5 } })).toEqual(new Uint8Array(0));
    expect((await store.head("get/empty"))?.sizeBytes).toBe(0);
  });
  check("get() gives bytes that are the caller's own when they are changed", async (store) => {
    await store.put("get/own", bytes("own"));
    (await store.get("get/own")).fill(0);
    expect(text(await store.get("get/own"))).toBe("own");
  });
  check("head() tells key, size and time when the object is there", async (store) => {
    await store.put("head/a", bytes("hello"));
    const info = await store.head("head/a");
    expect(info).toEqual({ key: "head/a", sizeBytes: 5, modifiedMs: expect.any(Number) });
    expect(info?.modifiedMs).toBeGreaterThan(Date.UTC(2020));
    expect(await store.head("head/none")).toBeUndefined();
  });
}

function describeWriting(check: Check): void {
  check("put() keeps every byte when the body is 5 MiB of shared memory", async (store) => {
    const body = noise(new Uint8Array(new SharedArrayBuffer(5 * MIB)));
    await store.put("put/large", body);
    const back = await store.get("put/large");
    expect(Buffer.compare(back, body)).toBe(0);
    const range = { offset: 2 * MIB - 3, length: MIB + 7 };
    const part = await store.get("put/large", { range });
    expect(Buffer.compare(part, body.subarray(range.offset, range.offset + range.length))).toBe(0);
  });
  check("put() keeps only the view's bytes when the body is part of a shared buffer", async (store) => {
    const buffer = new SharedArrayBuffer(300);
    noise(new Uint8Array(buffer));
    await store.put("put/view", new Uint8Array(buffer, 100, 50));
    expect(Buffer.compare(await store.get("put/view"), new Uint8Array(buffer, 100, 50))).toBe(0);
  });
  check("put() is done with the body when it resolves", async (store) => {
    const body = bytes("before");
    await store.put("put/reused", body);
    body.fill(0);
    expect(text(await store.get("put/reused"))).toBe("before");
  });
  check("put() replaces what is there when the key exists", async (store) => {
    await store.put("put/twice", bytes("the first, a longer one"));
    await store.put("put/twice", bytes("second"));
    expect(text(await store.get("put/twice"))).toBe("second");
    expect((await store.head("put/twice"))?.sizeBytes).toBe(6);
  });
  check("put() leaves one whole body when many write the same key at once", async (store) => {
    const bodies = Array.from({ length: 8 }, (_, index) => new Uint8Array(100_000).fill(index + 1));
    await Promise.all(bodies.map((body) => store.put("put/race", body)));
    const back = await store.get("put/race");
    expect(bodies.some((body) => Buffer.compare(body, back) === 0)).toBe(true);
    expect(await keysOf(store, "put/race")).toEqual(["put/race"]);
  });
  check("put() leaves what is there when only an absent object is to be written", async (store) => {
    await store.put("put/absent", bytes("first"), { ifAbsent: true });
    expect(text(await store.get("put/absent"))).toBe("first");
    await store.put("put/absent", bytes("second"), { ifAbsent: true });
    expect(text(await store.get("put/absent"))).toBe("first");
    await store.delete(["put/absent"]);
    await store.put("put/absent", bytes("third"), { ifAbsent: true });
    expect(text(await store.get("put/absent"))).toBe("third");
  });
  check("put() lets one of many win for good when only an absent object is to be written", async (store) => {
    const winners = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        await store.put("put/first", bytes(`${index}`), { ifAbsent: true });
        return text(await store.get("put/first"));
      }),
    );
    expect(new Set(winners).size).toBe(1);
  });
}

/** Names in which a blank, `-` and `.` sort before `/`, and everything else after it. */
const ODD_KEYS = [
  "B",
  "a b",
  "a!",
  "a-b/c",
  "a-b-c",
  "a.b",
  "a/b-c",
  "a/b/c",
  "a0",
  "a%2Fb",
  "a&b<c>",
  "a+b",
  "aa",
  "~",
]
  .concat(["a=b'c\"d"]).map((key) => `odd/${key}`);

function describeListing(check: Check): void {
  check("list() ascends by the bytes of the key when keys sort oddly", async (store) => {
    await Promise.all(ODD_KEYS.map((key) => store.put(key, bytes(key))));
    expect(await keysOf(store, "odd/")).toEqual(ODD_KEYS.toSorted());
    for (const key of ODD_KEYS) expect(text(await store.get(key))).toBe(key);
  });
  check("list() goes on behind any key when `after` names it", async (store) => {
    await Promise.all(ODD_KEYS.map((key) => store.put(key, bytes(key))));
    const sorted = ODD_KEYS.toSorted();
    for (const after of [...sorted, "odd", "odd/", "odd/a/", "odd/a/a", "odd/a0/z", "odd/zzz", "p"]) {
      expect(await keysOf(store, "odd/", after)).toEqual(sorted.filter((key) => key > after));
    }
  });
  check("list() tells the keys that begin with the prefix when it ends inside a name", async (store) => {
    await Promise.all(
      ["pre/fix", "pre/fixed/a", "pre/fi", "pre/other"].map((key) => store.put(key, bytes("x"))),
    );
    expect(await keysOf(store, "pre/fix")).toEqual(["pre/fix", "pre/fixed/a"]);
    expect(await keysOf(store, "pre/fixed/")).toEqual(["pre/fixed/a"]);
    expect(await keysOf(store, "pre/none/")).toEqual([]);
    expect(await keysOf(store, "pre/fix/")).toEqual([]);
  });
  check("list() tells sizes and times when objects differ", async (store) => {
    await store.put("info/a", bytes("1"));
    await store.put("info/b", bytes("22"));
    const infos = await Array.fromAsync(store.list("info/"));
    expect(infos.map(({ key, sizeBytes }) => [key, sizeBytes])).toEqual([["info/a", 1], ["info/b", 2]]);
    for (const { modifiedMs } of infos) expect(modifiedMs).toBeGreaterThan(Date.UTC(2020));
  });
  check("list() and folders() tell everything once when there is more than a page of it", async (store) => {
    const keys = manyKeys("many").toSorted();
    await inParallel(keys, (key) => store.put(key, bytes("x")));
    expect(await keysOf(store, "many/")).toEqual(keys);
    expect(await keysOf(store, "many/", keys[998])).toEqual(keys.slice(999));
    expect(await keysOf(store, "many/", keys[499])).toEqual(keys.slice(500));
    expect(await Array.fromAsync(store.folders("many/"))).toEqual(keys.map((key) => key.split("/")[1]!));
    expect(await store.delete(keys)).toEqual([]);
    expect(await keysOf(store, "many/")).toEqual([]);
    expect(await Array.fromAsync(store.folders("many/"))).toEqual([]);
  });
  check("list() can be left early when only the first key is wanted", async (store) => {
    await store.put("early/a", bytes("x"));
    await store.put("early/b", bytes("x"));
    for await (const { key } of store.list("early/")) {
      expect(key).toBe("early/a");
      break;
    }
    expect(await keysOf(store, "early/")).toEqual(["early/a", "early/b"]);
  });
  check(
    "folders() tells the next segments once, in the order of their keys, when objects lie beside",
    async (store) => {
      const keys = ["f/a/1", "f/a/2/x", "f/a-b/1", "f/z/1", "f/b", "f/c.d/e/f/g"];
      await Promise.all(keys.map((key) => store.put(key, bytes("x"))));
      expect(await Array.fromAsync(store.folders("f/"))).toEqual(["a-b", "a", "c.d", "z"]);
      expect(await Array.fromAsync(store.folders("f/a/"))).toEqual(["2"]);
      expect(await Array.fromAsync(store.folders("none/"))).toEqual([]);
      expect(await Array.fromAsync(store.folders(""))).toContain("f");
    },
  );
}

function describeDeleting(check: Check): void {
  check("delete() removes what it is told when some of it is not there", async (store) => {
    await store.put("delete/a/b", bytes("x"));
    await store.put("delete/kept", bytes("x"));
    expect(await store.delete(["delete/a/b", "delete/none", "delete/a", "delete/kept/none"])).toEqual([]);
    expect(await keysOf(store, "delete/")).toEqual(["delete/kept"]);
    expect(await Array.fromAsync(store.folders("delete/"))).toEqual([]);
  });
  check("delete() does nothing when there are no keys", async (store) => {
    expect(await store.delete([])).toEqual([]);
  });
  check("delete() removes all when absent keys make more than one batch", async (store) => {
    const keys = manyKeys("absent");
    await store.put(keys[0]!, bytes("x"));
    await store.put(keys.at(-1)!, bytes("x"));
    expect(await store.delete(keys)).toEqual([]);
    expect(await keysOf(store, "absent/")).toEqual([]);
  });
  check("put() and delete() leave what was put when they share folders at the same time", async (store) => {
    for (let round = 0; round < 20; round++) {
      await store.put(`churn/x/y/${round}`, bytes("x"));
      await Promise.all([
        store.delete([`churn/x/y/${round}`]),
        store.put(`churn/x/y/${round + 1}`, bytes("y")),
      ]);
      expect(text(await store.get(`churn/x/y/${round + 1}`))).toBe("y");
    }
  });
}

function describeAborting(check: Check): void {
  check("every method throws the signal's reason when it is aborted before", async (store) => {
    await store.put("abort/a", bytes("x"));
    const reason = new InterruptedError();
    const signal = AbortSignal.abort(reason);
    expect(await rejection(store.get("abort/a", { signal }))).toBe(reason);
    expect(await rejection(store.put("abort/b", bytes("x"), { signal }))).toBe(reason);
    expect(await rejection(store.head("abort/a", { signal }))).toBe(reason);
    expect(await rejection(store.delete(["abort/a"], { signal }))).toBe(reason);
    expect(await rejection(Array.fromAsync(store.list("abort/", { signal })))).toBe(reason);
    expect(await rejection(Array.fromAsync(store.folders("abort/", { signal })))).toBe(reason);
    expect(await keysOf(store, "abort/")).toEqual(["abort/a"]);
  });
  check("put() leaves all or nothing when it is aborted in the middle", async (store) => {
    const body = noise(new Uint8Array(5 * MIB));
    for (const turns of [0, 1, 5, 50]) {
      const controller = new AbortController();
      const reason = new InterruptedError();
      const put = rejection(store.put(`abort/put-${turns}`, body, { signal: controller.signal }));
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
      controller.abort(reason);
      expect([reason, undefined]).toContain(await put as never);
      const there = await store.head(`abort/put-${turns}`);
      expect([undefined, body.length]).toContain(there?.sizeBytes);
    }
  });
  check("list() throws the signal's reason when it is aborted between two keys", async (store) => {
    await inParallel(["abort/l/a", "abort/l/b", "abort/l/c/d"], (key) => store.put(key, bytes("x")));
    const controller = new AbortController();
    const reason = new InterruptedError();
    const entries = store.list("abort/l/", { signal: controller.signal });
    await entries.next();
    controller.abort(reason);
    expect(await rejection(Array.fromAsync(entries))).toBe(reason);
  });
}

const BAD_KEYS = ["", "/", "a//b", "/a", "a/", ".", "..", "a/../b", "a/./b", "../a", "a\nb", "a\0", "\u00e9"];

function describeKeys(check: Check): void {
  check("every method refuses a key when it is not a plain path", async (store) => {
    for (const key of BAD_KEYS) {
      expect(await rejection(store.put(key, bytes("x")))).toBeInstanceOf(StoreError);
      expect(await rejection(store.get(key))).toBeInstanceOf(StoreError);
      expect(await rejection(store.head(key))).toBeInstanceOf(StoreError);
      expect(await rejection(store.delete([key]))).toBeInstanceOf(StoreError);
    }
    for (const prefix of ["../", "a/../", "/", "/a/", "a//"]) {
      expect(await rejection(Array.fromAsync(store.list(prefix)))).toBeInstanceOf(StoreError);
      expect(await rejection(Array.fromAsync(store.folders(prefix)))).toBeInstanceOf(StoreError);
    }
  });
  check("get() refuses a range when it is not one", async (store) => {
    await store.put("get/a", bytes("hello"));
    for (const range of [{ offset: -1, length: 1 }, { offset: 0, length: 0 }, { offset: 0.5, length: 1 }]) {
      expect(await rejection(store.get("get/a", { range }))).toBeInstanceOf(RangeError);
    }
  });
}

export async function keysOf(store: Store, prefix: string, after?: string): Promise<string[]> {
  return (await Array.fromAsync(store.list(prefix, { after }))).map(({ key }) => key);
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function manyKeys(folder: string): string[] {
  return Array.from({ length: MANY }, (_, index) => `${folder}/${index}/object`);
}

/** Bytes without a pattern that a wrong offset could hide in; the same ones each time. */
function noise(into: Uint8Array): Uint8Array {
  let state = 1;
  for (let at = 0; at < into.length; at++) into[at] = (state = Math.imul(state, 48271) >>> 0) >>> 13;
  return into;
}

async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < items.length; at += 50) await Promise.all(items.slice(at, at + 50).map(run));
}
