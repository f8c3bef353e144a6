/** Versions, delete markers, unfinished uploads and locks, on real servers: an erasure relies on each of them. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
} from "@aws-sdk/client-s3";
import { versionPages } from "../../../src/store/versions.ts";
import type { StoredVersion } from "../../../src/store/store.ts";
import { S3Store } from "../../../src/store/s3/s3.ts";
import { startRadosgw } from "../../kit/ceph.ts";
import { startMinio } from "../../kit/minio.ts";
import { describeWith } from "../../kit/parts.ts";
import { rootClient, type S3Server } from "../../kit/s3_server.ts";
import { bytes, keysOf } from "../../kit/store_contract.ts";
import { connectBucket } from "../../kit/s3_connection.ts";

const ROOT = "a/prefix";
const LIMIT_MS = 60_000;
const HOUR_MS = 3600_000;

/** One more than a page has. */
const MANY = 1001;

for (const [name, start] of [["MinIO", startMinio], ["radosgw", startRadosgw]] as const) {
  describeWith(
    [name],
    `the history of a bucket on ${name}`,
    () => describeHistory(start, { pages: name === "MinIO" }),
  );
}

/** With `pages`, that of more than a page: it takes long where writes are slow. */
function describeHistory(start: () => Promise<S3Server>, { pages }: { pages: boolean }): void {
  let server: S3Server;
  let client: S3Client;
  let plain: S3Store;
  let locked: S3Store;
  let bucket: string;

  beforeAll(async () => {
    server = await start();
    client = rootClient(server);
    plain = new S3Store(await connectBucket(server), ROOT);
    bucket = `varve-lock-${crypto.randomUUID()}`;
    // Such a bucket is versioned, too.
    await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: true }));
    locked = new S3Store(await connectBucket({ ...server, bucket }), ROOT);
  }, LIMIT_MS);
  afterAll(() => server?.stop(), LIMIT_MS);

  const putLocked = (key: string, lock: Partial<PutObjectCommandInput>) =>
    client.send(new PutObjectCommand({ Bucket: bucket, Key: `${ROOT}/${key}`, Body: bytes("x"), ...lock }));

  test("page() tells objects of a bucket without versions, and remove() removes them", async () => {
    await plain.put("plain/a", bytes("hello"));
    await plain.put("plainer", bytes("x"));
    const traces = await tracesOf(plain, "plain/");
    expect(traces).toEqual([{ key: "plain/a", kind: "version", id: "null", isLatest: true, sizeBytes: 5 }]);
    expect(await plain.history.remove(traces, {})).toEqual([]);
    expect(await tracesOf(plain, "plain/")).toEqual([]);
    expect(await keysOf(plain, "")).toContain("plainer");
    expect(await plain.history.remove(traces, {})).toEqual([]);
  }, LIMIT_MS);

  test("page() tells unfinished uploads below the prefix, and remove() ends them", async () => {
    for (const key of ["up/x/1", "uplift"]) {
      const Key = `${ROOT}/${key}`;
      await client.send(new CreateMultipartUploadCommand({ Bucket: server.bucket, Key }));
    }
    const traces = await tracesOf(plain, "up/");
    expect(traces).toMatchObject([{ key: "up/x/1", kind: "upload" }]);
    expect(await plain.history.remove(traces, {})).toEqual([]);
    expect(await plain.history.remove(traces, {})).toEqual([]);
    expect(await tracesOf(plain, "up/")).toEqual([]);
    expect(await tracesOf(plain, "uplift")).toHaveLength(1);
  }, LIMIT_MS);

  test(
    "page() tells old versions and delete markers that list() does not, and remove() removes them",
    async () => {
      await locked.put("v/a", bytes("old"));
      await locked.put("v/a", bytes("newer"));
      await locked.delete(["v/a"]);
      expect(await keysOf(locked, "v/")).toEqual([]);
      const traces = await tracesOf(locked, "v/");
      const about = traces.map(({ kind, isLatest, sizeBytes }) => `${kind} ${isLatest} ${sizeBytes}`);
      expect(about.toSorted()).toEqual(["marker true 0", "version false 3", "version false 5"]);
      expect(await locked.history.remove(traces, {})).toEqual([]);
      expect(await tracesOf(locked, "v/")).toEqual([]);
    },
    LIMIT_MS,
  );

  test("remove() leaves what is locked, and lockOf() tells until when", async () => {
    const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + HOUR_MS);
    await putLocked("l/kept", { ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: until });
    await putLocked("l/legal", { ObjectLockLegalHoldStatus: "ON" });
    await putLocked("l/free", {});
    const traces = await tracesOf(locked, "l/");
    const left = await locked.history.remove(traces, {});
    expect(left.map(({ trace }) => trace.key).toSorted()).toEqual(["l/kept", "l/legal"]);
    const held = await tracesOf(locked, "l/");
    expect(held.map(({ key }) => key)).toEqual(["l/kept", "l/legal"]);
    expect(await locked.history.lockOf(held[0]!, {})).toEqual({
      untilMs: until.getTime(),
      legalHold: false,
    });
    expect(await locked.history.lockOf(held[1]!, {})).toEqual({ untilMs: undefined, legalHold: true });
    const gone = traces.find(({ key }) => key === "l/free")!;
    expect(await locked.history.lockOf(gone, {})).toEqual({ untilMs: undefined, legalHold: false });
  }, LIMIT_MS);

  if (!pages) return;
  test("page() tells each once when they are more than a page", async () => {
    for (let at = 0; at < MANY; at += 50) {
      const keys = Array.from({ length: Math.min(50, MANY - at) }, (_, i) => `many/${at + i}`);
      await Promise.all(keys.map((key) => locked.put(key, bytes("x"))));
    }
    await locked.delete(["many/7"]);
    const traces = await tracesOf(locked, "many/");
    expect(traces).toHaveLength(MANY + 1);
    expect(new Set(traces.map(({ id }) => id)).size).toBe(MANY + 1);
    expect(await locked.history.remove(traces.slice(0, 1000), {})).toEqual([]);
    expect(await tracesOf(locked, "many/")).toHaveLength(MANY + 1 - 1000);
  }, LIMIT_MS);
}

async function tracesOf(store: S3Store, prefix: string): Promise<StoredVersion[]> {
  const pages = await Array.fromAsync(versionPages(store.history, prefix, {}));
  return pages.flatMap(({ traces }) => traces);
}
