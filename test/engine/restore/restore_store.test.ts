/** restore() and the store: whose keys it touches, with which rights, how much at once, and how it goes on when it broke off. */
import { beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Repository } from "../../../src/project/repository.ts";
import { verify } from "../../../src/engine/verify/verify.ts";
import { DamageError, InterruptedError, StoreError } from "../../../src/errors.ts";
import {
  backUp,
  CHUNK_BYTES,
  CHUNKS,
  keysOf,
  LEASES,
  newRepository,
  newStore,
  noise,
  PROJECT,
  restoreTo,
  testContext,
} from "../../kit/engine.ts";
import { hooked, type StoreCall } from "../../kit/hooked_store.ts";
import { data } from "../../kit/memory_source.ts";
import { random } from "../../kit/random.ts";
import { expectContent, type FileRestore, restoreFile } from "../../kit/restores.ts";
import { scratchFolder } from "../../kit/scratch.ts";

const folder = scratchFolder();
const path = join(folder, "disk");
const TOTAL = 24;
const VOLUME = noise(1, TOTAL * CHUNK_BYTES);

let repository: Repository;
beforeEach(async () => {
  fs.rmSync(path, { force: true });
  repository = await newRepository(newStore());
  await backUp(repository, [full()]);
});

const full = (bytes = VOLUME) => ({ sizeBytes: bytes.length, extents: [data(0, bytes)] });

const ofChunks = (op: StoreCall["op"]) => (call: StoreCall) => call.op === op && call.key.startsWith(CHUNKS);
const isChunk = ofChunks("get");
const isUpload = ofChunks("put");
const isQuestion = ofChunks("head");
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe("restore()", () => {
  test("touches no key of another project", async () => {
    await backUp(repository, [full(noise(2, 3 * CHUNK_BYTES))], { project: "other" });
    await backUp(repository, [full(noise(2, 3 * CHUNK_BYTES))], { project: "acme-2" });
    const { store, repository: recorded } = hooked(repository);
    await restoreFile(recorded, path, { verifyTarget: true });
    await restoreFile(recorded, path, { known: { point: "latest" } });
    expect(store.calls.length).toBeGreaterThan(TOTAL);
    expect(store.calls.filter(({ key }) => !key.startsWith(`projects/${PROJECT}/`))).toEqual([]);
  });

  test("writes and removes nothing but its own lease", async () => {
    const before = await keysOf(repository.store, "");
    const { store, repository: recorded } = hooked(repository);
    await restoreFile(recorded, path);
    const changed = [...store.keys("put"), ...store.keys("delete")];
    expect(new Set(changed).size).toBe(1);
    expect(changed[0]).toMatch(new RegExp(`^${LEASES}[0-9a-f]{32}$`));
    expect(await keysOf(repository.store, "")).toEqual(before);
  });

  test("needs no right but to read", async () => {
    const refuse = ({ op }: StoreCall) => {
      if (op === "put" || op === "delete") {
        throw new StoreError("Cannot write: access denied (403)", { retryable: false });
      }
    };
    const { repository: readOnly } = hooked(repository, { before: refuse });
    expect(await restoreFile(readOnly, path, { verifyTarget: true })).toMatchObject({ damaged: [] });
    expectContent(path, VOLUME);
  });

  test("ends when a write of its lease fails for another reason", async () => {
    const fail = ({ op }: StoreCall) => {
      if (op === "put") throw new StoreError("Cannot write: it answered 500", { retryable: true });
    };
    const { repository: failing } = hooked(repository, { before: fail });
    expect(await restoreFile(failing, path).catch((error) => error.message)).toBe(
      "Cannot write: it answered 500",
    );
    expect(fs.existsSync(path)).toBe(false);
  });

  test("writes in ascending order when downloads end in any order", async () => {
    const next = random(5);
    const late = async (call: StoreCall) => {
      if (isChunk(call)) { for (let turns = next(30); turns > 0; turns--) await nextTurn(); }
    };
    const { repository: slow } = hooked(repository, { before: late });
    const { target } = await restoreTo(slow, { context: testContext({ threads: 2 }) });
    expect(target.writes.map(({ offset }) => offset)).toEqual(
      Array.from({ length: TOTAL }, (_, i) => i * CHUNK_BYTES),
    );
    expect(Buffer.compare(target.bytes, VOLUME)).toBe(0);
  });

  test("downloads the next chunks while one is written", async () => {
    let underWay = 0;
    const atWrites: number[] = [];
    const { repository: slow } = hooked(repository, {
      before: async (call) => {
        if (!isChunk(call)) return;
        underWay++;
        for (let turns = 0; turns < 20; turns++) await nextTurn();
      },
      after: (call) => void (isChunk(call) && underWay--),
    });
    await restoreTo(slow, {
      onWrite: () => void atWrites.push(underWay),
      context: testContext({ threads: 2 }),
    });
    expect(Math.max(...atWrites)).toBeGreaterThan(0);
  });
});

/** How long a request is held at most, so that others can come. */
const MAX_TURNS = 3000;

describe("restore() of which one chunk is slow", () => {
  test("goes on comparing meanwhile", async () => {
    const content = VOLUME.slice();
    content[0]! ^= 1;
    const read = new Set<number>();
    let readMeanwhile = 0;
    const { repository: slow } = hooked(repository, {
      before: async (call) => {
        if (!isChunk(call)) return;
        for (let turns = 0; turns < 30 * MAX_TURNS && read.size < TOTAL; turns++) await nextTurn();
        readMeanwhile = read.size;
      },
    });
    const { target } = await restoreTo(slow, { content, onRead: (offset) => void read.add(offset) });
    expect(readMeanwhile).toBe(TOTAL);
    expect(Buffer.compare(target.bytes, VOLUME)).toBe(0);
  });

  test.each([[20, 200], [2000, 20]])(
    "begins nothing more once that is damaged (%d, others %d)",
    async (first, others) => {
      let slow: string | undefined;
      const { store, repository: bad } = hooked(repository, {
        before: async (call) => {
          // The first one is the page.
          if (!isChunk(call) || store.calls.filter(isChunk).length === 1) return;
          slow ??= call.key;
          for (let turns = 0; turns < (call.key === slow ? first : others); turns++) await nextTurn();
        },
        change: (key, bytes) => key === slow ? bytes.subarray(0, 100) : bytes,
      });
      const context = testContext({ jobs: 2, threads: 2 });
      await expect(restoreTo(bad, { context })).rejects.toBeInstanceOf(DamageError);
      expect(store.calls.filter(isChunk).length).toBeLessThan(TOTAL / 2);
    },
  );
});

describe("jobs", () => {
  /** The most requests under way at once that are `counted`, each held until as many are as there are jobs. */
  async function most(
    { counted, jobs }: { counted: (call: StoreCall) => boolean; jobs: number },
    work: (repository: Repository) => Promise<unknown>,
  ) {
    const count = { now: 0, most: 0 };
    const { repository: held } = hooked(repository, {
      before: async (call) => {
        if (!counted(call)) return;
        count.most = Math.max(count.most, ++count.now);
        for (let turns = 0; turns < 20 || (turns < MAX_TURNS && count.most < jobs); turns++) await nextTurn();
      },
      after: (call) => void (counted(call) && count.now--),
    });
    await work(held);
    return count.most;
  }

  test.each([1, 2, 3, 8])("is how many chunks restore() has on their way when it is %d", async (jobs) => {
    const context = testContext({ jobs, threads: 2 });
    expect(await most({ counted: isChunk, jobs }, (repository) => restoreFile(repository, path, { context })))
      .toBe(jobs);
  });

  test.each([1, 2, 3, 8])("is how many chunks verify() has on their way when it is %d", async (jobs) => {
    const context = testContext({ jobs, threads: 2 });
    const options = { project: PROJECT, secrets: [], sample: { kind: "all" } } as const;
    expect(await most({ counted: isChunk, jobs }, (repository) => verify(repository, options, context)))
      .toBe(jobs);
  });

  test("does not keep backup() from asking for the next chunks while one is uploaded", async () => {
    let askedMeanwhile = 0;
    const { store, repository: slow } = hooked(repository, {
      before: async (call) => {
        if (!isUpload(call)) return;
        const asked = () => store.calls.filter(isQuestion).length;
        for (let turns = 0; turns < MAX_TURNS && asked() < 3; turns++) await nextTurn();
        askedMeanwhile = Math.max(askedMeanwhile, asked() - store.calls.filter(isUpload).length);
      },
    });
    const fresh = full(noise(3, TOTAL * CHUNK_BYTES));
    await backUp(slow, [fresh], { context: testContext({ jobs: 1, threads: 2 }) });
    expect(askedMeanwhile).toBeGreaterThan(1);
  });

  test.each([1, 2, 3, 8])("is how many chunks backup() has on their way when it is %d", async (jobs) => {
    const context = testContext({ jobs, threads: 2 });
    const fresh = full(noise(3, TOTAL * CHUNK_BYTES));
    expect(await most({ counted: isUpload, jobs }, (repository) => backUp(repository, [fresh], { context })))
      .toBe(jobs);
  });
});

describe("restore() that broke off", () => {
  /** The second run fetches only what the first has not written. */
  async function expectRest(options: FileRestore, fetched: number): Promise<void> {
    const report = await restoreFile(repository, path, options);
    expect(report.way).toBe("compare");
    expect(report.chunks.written).toBeLessThanOrEqual(TOTAL - fetched);
    expect(report.downloaded_bytes).toBeLessThan(VOLUME.length * (TOTAL - fetched + 0.5) / TOTAL);
    expectContent(path, VOLUME);
  }

  test("goes on where it was when the store went away", async () => {
    let left = 10;
    const fail = (call: StoreCall) => {
      if (isChunk(call) && left-- <= 0) {
        throw new StoreError("Cannot read: the store is gone", { retryable: false });
      }
    };
    let done = 0;
    const onProgress = ({ writtenBytes }: { writtenBytes: number }) =>
      void (done = writtenBytes / CHUNK_BYTES);
    const { repository: failing } = hooked(repository, { before: fail });
    const failed = restoreFile(failing, path, { onProgress });
    expect(await failed.catch((error) => error.message)).toBe("Cannot read: the store is gone");
    expect(done).toBeGreaterThan(0);
    await expectRest({}, done);
  });

  test("ends with the signal's reason, closes the target, and goes on where it was", async () => {
    const controller = new AbortController();
    const context = testContext({ signal: controller.signal });
    let done = 0;
    const failed = restoreFile(repository, path, {
      context,
      onProgress: ({ writtenBytes }) => {
        done = writtenBytes / CHUNK_BYTES;
        if (done === 7) controller.abort(new InterruptedError());
      },
    });
    expect(await failed.catch((error) => error.code)).toBe("interrupted");
    expect(await keysOf(repository.store, LEASES)).toEqual([]);
    expect(fs.readdirSync("/proc/self/fd").map((fd) => linkOf(fd))).not.toContain(path);
    await expectRest({}, done);
  });

  test("is not taken for good when it is known to the host", async () => {
    const cacheRoot = join(folder, "cache");
    const context = testContext({ cacheRoot });
    await restoreFile(repository, path, { context });
    fs.writeFileSync(path, noise(9, VOLUME.length));
    const controller = new AbortController();
    const broken = restoreFile(repository, path, {
      context: testContext({ cacheRoot, signal: controller.signal }),
      onProgress: () => controller.abort(new InterruptedError()),
    });
    expect(await broken.catch((error) => error.code)).toBe("interrupted");
    await expectRest({ context }, 1);
  });
});

function linkOf(fd: string): string {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}
