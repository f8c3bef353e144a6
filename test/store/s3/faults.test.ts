/** The S3 store, with the retries around it, against a server that misbehaves as each test says. */
import { afterEach, describe, expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InterruptedError, MissingError, StoreError, UnavailableError } from "../../../src/errors.ts";
import type { StartTimer } from "../../../src/store/progress_limit.ts";
import { versionPages } from "../../../src/store/versions.ts";
import { RetryStore } from "../../../src/store/wrappers/retry.ts";
import { S3Store } from "../../../src/store/s3/s3.ts";
import { S3Bucket } from "../../../src/store/s3/bucket.ts";
import { connectS3 } from "../../../src/store/s3/client.ts";
import { PROGRESS_LIMIT_MS } from "../../../src/store/progress_limit.ts";
import { rejection } from "../../kit/rejection.ts";
import { bytes, keysOf } from "../../kit/store_contract.ts";
import { connectBucket, withEnv } from "../../kit/s3_connection.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Headers;
  body: Uint8Array;
}

type Answer = (request: Seen, index: number) => Response | Promise<Response>;

/** A bucket on a server that answers as told; `seen` collects the requests. */
async function serve(answer: Answer, startTimer?: StartTimer) {
  const seen: Seen[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    async fetch(request) {
      const { pathname: path, searchParams: query } = new URL(request.url);
      const { method, headers } = request;
      seen.push({ method, path, query, headers, body: await request.bytes() });
      return await answer(seen.at(-1)!, seen.length - 1);
    },
  });
  cleanups.push(() => server.stop(true));
  return { ...await connect(server.port!, startTimer), seen };
}

async function connect(port: number, startTimer?: StartTimer) {
  const server = {
    endpoint: `http://127.0.0.1:${port}`,
    accessKey: "key",
    secretKey: "hush",
    bucket: "bucket",
  };
  const bucket = await connectBucket({ ...server, stop: async () => {} }, startTimer);
  const lines: string[] = [];
  let nowMs = 0;
  const retry = {
    onRetry: (line: string, level: string) => void (level === "debug" && lines.push(line)),
    now: () => nowMs,
    sleep: async () => void (nowMs += 30_000),
    random: () => 0,
  };
  return { store: new RetryStore(new S3Store(bucket, "pre"), retry), lines, host: `127.0.0.1:${port}` };
}

/** The answer to a write of these bytes. */
const stored = ({ body }: Pick<Seen, "body">) =>
  new Response("", { headers: { etag: `"${new Bun.MD5().update(body).digest("hex")}"` } });

const failed = (status: number, code = "", message = "") => {
  const headers = { "content-type": "application/xml" };
  if (code === "") return new Response("", { status });
  return new Response(`<Error><Code>${code}</Code><Message>${message}</Message></Error>`, {
    status,
    headers,
  });
};

describe("S3Store.put()", () => {
  test("is tried again, with one line, when the server answers 500 once", async () => {
    const { store, lines, seen, host } = await serve((request, index) =>
      index === 0 ? failed(500, "InternalError", "We are sorry") : stored(request)
    );
    await store.put("a", bytes("hello"));
    expect(seen.map(({ method, path, body }) => `${method} ${path} ${body.length}`)).toEqual([
      "PUT /bucket/pre/a 5",
      "PUT /bucket/pre/a 5",
    ]);
    expect(lines).toEqual([
      `Attempt 1 failed, the next in 0.0 s: Cannot write "s3://bucket/pre/a": "${host}" answered (500 InternalError): We are sorry`,
    ]);
  });
  test.each([
    [408, "RequestTimeout"],
    [429, "TooManyRequests"],
    [503, "SlowDown"],
    [404, "NoSuchKey"],
    [400, "RequestTimeout"],
    [502, ""],
    [425, ""],
    [499, "ClientDisconnected"],
    [403, "RequestTimeTooSkewed"],
    [400, "ExpiredToken"],
    [409, "OperationAborted"],
    [400, "IncompleteBody"],
    [400, "BadDigest"],
    [400, "XAmzContentSHA256Mismatch"],
    [400, "SlowDownWrite"],
    [400, "ThrottlingException"],
  ])(
    "is tried again when the server answers %d %s",
    async (status, code) => {
      const { store, lines } = await serve((request, index) =>
        index < 2 ? failed(status, code) : stored(request)
      );
      await store.put("a", bytes("hello"));
      expect(lines.length).toBe(2);
    },
  );
  test("is tried again when a gateway answers 503 with a web page", async () => {
    const page = () =>
      new Response("<!DOCTYPE html><html><br>Bad gateway", {
        status: 503,
        headers: { "content-type": "text/html" },
      });
    const { store, lines } = await serve((request, index) => index < 1 ? page() : stored(request));
    await store.put("a", bytes("hello"));
    expect(lines.length).toBe(1);
  });
  test.each([
    [403, "AccessDenied", "access denied (403 AccessDenied)"],
    [403, "", "access denied (403)"],
    [403, "InvalidAccessKeyId", "the access key is unknown to the store (403 InvalidAccessKeyId)"],
    [403, "SignatureDoesNotMatch", "the secret access key is wrong (403 SignatureDoesNotMatch)"],
    [404, "NoSuchBucket", 'bucket "bucket" does not exist at "HOST" (404)'],
    [
      301,
      "PermanentRedirect",
      'bucket "bucket" is in another region; set AWS_REGION (301 PermanentRedirect)',
    ],
    [400, "InvalidArgument", '"HOST" answered (400 InvalidArgument)'],
  ])("is final, with a clear message, when the server answers %d %s", async (status, code, state) => {
    const { store, lines, seen, host } = await serve(() => failed(status, code));
    const error = await rejection(store.put("a", bytes("hello")));
    expect(error).toBeInstanceOf(StoreError);
    expect((error as Error).message).toBe(`Cannot write "s3://bucket/pre/a": ${state.replace("HOST", host)}`);
    expect((error as Error).cause).toBeDefined();
    // A 400 may be about the checksum: then an MD5 is tried.
    expect(seen.length).toBe(code === "AccessDenied" ? 3 : status === 400 ? 2 : 1);
    expect(lines).toEqual([]);
  });
  test("says that the store has other bytes where it says so, by CRC-32 or ETag", async () => {
    for (
      const headers of [{ etag: '"x"', "x-amz-checksum-crc32": "AAAAAA==" }, { etag: `"${"0".repeat(32)}"` }]
    ) {
      const { store } = await serve(() => new Response("", { headers }));
      const error = await rejection(store.put("a", bytes("hello"))) as StoreError;
      expect([error.isOfOtherBytes, error.message]).toEqual([
        true,
        expect.stringContaining("does not match the bytes sent"),
      ]);
    }
  });
  test("goes on with an MD5 where the store refuses a CRC-32", async () => {
    const { store, seen } = await serve((request) =>
      request.headers.has("x-amz-checksum-crc32") ? failed(400, "InvalidRequest") : stored(request)
    );
    for (const key of ["a", "b"]) await store.put(key, bytes("hello"));
    expect(seen.map(({ headers }) => headers.get("content-md5"))).toEqual([
      null,
      new Bun.MD5().update("hello").digest("base64"),
      new Bun.MD5().update("hello").digest("base64"),
    ]);
  });
  test("goes on with an MD5 in each of several writes that were refused at once", async () => {
    const { store } = await serve((request) =>
      request.headers.has("x-amz-checksum-crc32") ? failed(400, "InvalidRequest") : stored(request)
    );
    await Promise.all(["a", "b", "c"].map((key) => store.put(key, bytes("hello"))));
  });
  test("succeeds when access is denied only for a moment", async () => {
    const { store, lines } = await serve((request, index) =>
      index < 2 ? failed(403, "AccessDenied") : stored(request)
    );
    await store.put("a", bytes("hello"));
    expect(lines).toEqual([]);
  });
  test("signs the body's hash and sends its length when the body is shared memory", async () => {
    const { store, seen } = await serve(stored);
    const body = new Uint8Array(new SharedArrayBuffer(3_000_000)).fill(7);
    await store.put("a", body);
    const [request] = seen;
    expect(Buffer.compare(request!.body, body)).toBe(0);
    expect(request!.headers.get("content-length")).toBe("3000000");
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(Bun.hash.crc32(body));
    expect(request!.headers.get("x-amz-checksum-crc32")).toBe(sum.toString("base64"));
    expect(request!.headers.get("content-md5")).toBe(null);
    expect(request!.headers.get("x-amz-content-sha256")).toBe(new Bun.SHA256().update(body).digest("hex"));
  });
});

describe("S3Store.get()", () => {
  test("is tried again when the body is cut short", async () => {
    const { store, lines } = await serveRaw((socket, index) => {
      socket.write('HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 10\r\n\r\n01234');
      if (index > 0) socket.write("56789");
      socket.end();
    });
    expect(await store.get("a")).toEqual(bytes("0123456789"));
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain('Cannot read "s3://bucket/pre/a": ');
  });
  test("is tried again when the connection is reset", async () => {
    const { store, lines, host } = await serveRaw((socket, index) => {
      if (index === 0) return void socket.resetAndDestroy();
      socket.end('HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 2\r\n\r\nok');
    });
    expect(await store.get("a")).toEqual(bytes("ok"));
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain(`Cannot read "s3://bucket/pre/a": no connection to "${host}" (`);
  });
  test("is tried again when what comes is no HTTP", async () => {
    const { store, lines } = await serveRaw((socket, index) => {
      socket.end(
        index === 0
          ? "HTTP/1.1 2x0 nonsense\r\n\r\n"
          : 'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 2\r\n\r\nok',
      );
    });
    expect(await store.get("a")).toEqual(bytes("ok"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain("verbose");
  });
  test("throws an error that names the host when nobody listens", async () => {
    const closed = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
    await closed.stop(true);
    const { store, lines, host } = await connect(closed.port!);
    const error = await rejection(store.get("a"));
    expect(error).toMatchObject({ retryable: true });
    expect((error as Error).message).toContain(
      `Cannot read "s3://bucket/pre/a": no connection to "${host}" (ECONNREFUSED); no request succeeded since `,
    );
    expect(lines.length).toBe(30);
  });
  test("throws MissingError when the server answers 404 NoSuchKey", async () => {
    const { store, seen } = await serve(() => failed(404, "NoSuchKey"));
    expect(await rejection(store.get("a"))).toBeInstanceOf(MissingError);
    expect(seen.length).toBe(1);
  });
  test("throws MissingError when access is denied but the listing tells that there is no object", async () => {
    const { store, seen } = await serve(({ query }) =>
      query.has("list-type") ? listing(["pre/a-b"]) : failed(403, "AccessDenied")
    );
    expect(await rejection(store.get("a"))).toBeInstanceOf(MissingError);
    expect(await store.head("a")).toBeUndefined();
    expect(seen[1]?.query.get("prefix")).toBe("pre/a");
  });
  test("throws StoreError when access is denied and the listing has the object, or is denied too", async () => {
    for (const answer of [() => listing(["pre/a"]), () => failed(403, "AccessDenied")]) {
      const { store } = await serve(({ query }) =>
        query.has("list-type") ? answer() : failed(403, "AccessDenied")
      );
      expect(await rejection(store.get("a"))).not.toBeInstanceOf(MissingError);
      const error = await rejection(store.head("a"));
      expect((error as Error).message).toBe(
        'Cannot look up "s3://bucket/pre/a": access denied (403 AccessDenied)',
      );
    }
  });
  test("is tried again when the server sends more than the range", async () => {
    const ranged = () =>
      new Response("34", { status: 206, headers: { etag: '"x"', "content-range": "bytes 3-4/10" } });
    const { store, lines } = await serve((_, index) => index === 0 ? new Response("0123456789") : ranged());
    expect(await store.get("a", { range: { offset: 3, length: 2 } })).toEqual(bytes("34"));
    expect(lines).toHaveLength(1);
  });
});

describe("S3Store with credentials that expire", () => {
  test("takes those that the profile has by then", async () => {
    const path = join(tmpdir(), `varve-aws-${crypto.randomUUID()}`);
    const write = (key: string) =>
      Bun.write(path, `[default]\naws_access_key_id = ${key}\naws_secret_access_key = hush\n`);
    cleanups.push(() => rm(path));
    await write("OLD");
    const users: string[] = [];
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      async fetch({ headers }) {
        users.push(/Credential=(\w+)/.exec(headers.get("authorization") ?? "")?.[1] ?? "");
        await write("NEW");
        return users.length === 1 ? failed(400, "ExpiredToken") : failed(404, "NoSuchKey");
      },
    });
    cleanups.push(() => server.stop(true));
    await withEnv({ AWS_SHARED_CREDENTIALS_FILE: path }, async () => {
      const bucket = new S3Bucket("bucket", await connectS3({ endpoint: server.url.href }));
      const retry = { onRetry: () => {}, sleep: async () => {}, random: () => 0 };
      expect(await rejection(new RetryStore(new S3Store(bucket), retry).get("a"))).toBeInstanceOf(
        MissingError,
      );
    });
    expect(users).toEqual(["OLD", "NEW"]);
  });
});

describe("S3Store.get() of an object that the store withholds", () => {
  test("throws UnavailableError when it is archived, or its key cannot be used", async () => {
    for (
      const [status, code, state] of [
        [403, "InvalidObjectState", "it is archived; restore it in the store first"],
        [400, "KMS.DisabledException", "the store cannot use its encryption key for it"],
        [403, "AccessDenied", "access denied"],
      ] as const
    ) {
      const { store } = await serve(({ query }) =>
        query.has("list-type") ? listing(["pre/a"]) : failed(status, code)
      );
      const error = await rejection(store.get("a"));
      expect(error).toBeInstanceOf(UnavailableError);
      expect(error).toMatchObject({ key: "a", retryable: false });
      expect((error as Error).message).toBe(`Cannot read "s3://bucket/pre/a": ${state} (${status} ${code})`);
    }
  });
  test("throws StoreError when nothing can be read", async () => {
    for (const code of ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"]) {
      const { store } = await serve(() => failed(403, code));
      const error = await rejection(store.get("a"));
      expect(error).toBeInstanceOf(StoreError);
      expect(error).not.toBeInstanceOf(UnavailableError);
    }
  });
  test("tells how long the store wants to be left alone", async () => {
    const { store } = await serve(() => new Response("", { status: 503, headers: { "retry-after": "3" } }));
    expect(await rejection(store.get("a"))).toMatchObject({ retryable: true, retryAfterMs: 3000 });
  });
  test("is tried again when a byte is said not to be in an object that has it", async () => {
    const refused = () =>
      new Response("<Error><Code>InvalidRange</Code></Error>", {
        status: 416,
        headers: { "content-range": "bytes */9" },
      });
    const { store, lines } = await serve(refused);
    expect(await store.get("a", { range: { offset: 9, length: 1 } })).toEqual(new Uint8Array(0));
    expect(await rejection(store.get("a", { range: { offset: 8, length: 1 } }))).toMatchObject({
      retryable: true,
    });
    expect(lines[0]).toContain("it rejects offset 8 of an object of 9 bytes");
  });
});

describe("S3Store.head()", () => {
  /** A server that says to `HEAD` that there is nothing, and as told to the `GET` that asks once more. */
  const serveMissing = (again: () => Response) =>
    serve(({ method }) => method === "HEAD" ? failed(404) : again());

  test("asks once more, by another way, before it takes an object as missing", async () => {
    const { store, seen } = await serveMissing(() => failed(404, "NoSuchKey"));
    expect(await store.head("a")).toBeUndefined();
    expect(seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "HEAD /bucket/pre/a",
      "GET /bucket/pre/a",
    ]);
    expect(seen[1]!.headers.get("range")).toBe("bytes=0-0");
  });
  test("throws StoreError when the 404 comes from a missing bucket", async () => {
    const { store, host } = await serveMissing(() => failed(404, "NoSuchBucket"));
    const error = await rejection(store.head("a"));
    expect((error as Error).message).toBe(
      `Cannot look up "s3://bucket/pre/a": bucket "bucket" does not exist at "${host}" (404)`,
    );
  });
  test("is tried again when HEAD says that an object is missing and GET gives it", async () => {
    const { store, lines } = await serveMissing(() =>
      new Response("x", { status: 206, headers: { etag: '"x"', "content-range": "bytes 0-0/9" } })
    );
    expect(await rejection(store.head("a"))).toMatchObject({ retryable: true });
    expect(lines).toHaveLength(30);
    expect(lines[0]).toContain("it is a 404 to HEAD for an object that GET returns");
  });
  test("is tried again when nobody says what a 404 is about", async () => {
    const { store, lines } = await serveMissing(() => failed(404));
    expect(await rejection(store.head("a"))).toMatchObject({ retryable: true });
    expect(lines[0]).toContain("it is a 404 that does not name the missing object");
  });
  test("says what S3 says when HEAD is refused", async () => {
    const { store } = await serve(({ method }) => failed(403, method === "HEAD" ? "" : "InvalidAccessKeyId"));
    const error = await rejection(store.head("a"));
    expect((error as Error).message).toContain(
      "the access key is unknown to the store (403 InvalidAccessKeyId)",
    );
  });
});

function listing(keys: string[], more = "<IsTruncated>false</IsTruncated>"): Response {
  const time = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>";
  const contents = keys.map((key) => `<Contents><Key>${key}</Key>${time}<Size>1</Size></Contents>`).join("");
  const count = `<KeyCount>${keys.length}</KeyCount>`;
  return new Response(`<ListBucketResult>${count}${contents}${more}</ListBucketResult>`);
}

describe("S3Store.list()", () => {
  test("throws when a page is cut but does not say where to go on", async () => {
    const { store } = await serve(() => listing(["pre/a"], "<IsTruncated>true</IsTruncated>"));
    const error = await rejection(keysOf(store, ""));
    expect((error as Error).message).toContain("it is truncated but has no continuation token");
  });
  test("throws when the pages go on where they began, repeat themselves, or have no end", async () => {
    const cut = (token: string) =>
      `<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`;
    const lies: [says: string, answer: Answer][] = [
      [
        "it is truncated and its continuation token repeats",
        (_, index) => listing([`pre/${100 + index}`], cut("same")),
      ],
      ['"pre/a" comes after "pre/a"', (_, index) => listing(["pre/a"], cut(`${index}`))],
      ["the last 100 pages were empty", (_, index) => listing([], cut(`${index}`))],
      [
        "it is complete but has a continuation token",
        () => listing([], "<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>"),
      ],
    ];
    for (const [says, answer] of lies) {
      const { store, lines } = await serve(answer);
      const error = await rejection(keysOf(store, ""));
      expect(error).toMatchObject({ retryable: true });
      expect([...lines, (error as Error).message].join()).toContain(says);
    }
  });
  test("throws when a page of folders has one of elsewhere, or one twice", async () => {
    const folders = (...names: string[]) => () =>
      new Response(
        `<ListBucketResult><IsTruncated>false</IsTruncated>${
          names.map((name) => `<CommonPrefixes><Prefix>${name}/</Prefix></CommonPrefixes>`).join("")
        }</ListBucketResult>`,
      );
    for (
      const answer of [folders("pre/a", "other/b"), folders("pre/b", "pre/a"), folders("pre/a", "pre/a")]
    ) {
      const { store } = await serve(answer);
      expect(await rejection(Array.fromAsync(store.folders("")))).toMatchObject({ retryable: true });
    }
  });
  test("throws when the keys do not ascend", async () => {
    const { store } = await serve(() => listing(["pre/b", "pre/a"]));
    const error = await rejection(keysOf(store, ""));
    expect((error as Error).message).toContain('"pre/a" comes after "pre/b"');
  });
  test("is tried again from the last key when a later page fails", async () => {
    const more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
    const { store, seen } = await serve((_, index) =>
      [() => listing(["pre/a"], more), () => failed(500), () => listing(["pre/b"])][index]!()
    );
    expect(await keysOf(store, "")).toEqual(["a", "b"]);
    expect(seen[1]?.query.get("continuation-token")).toBe("t");
    expect(seen[2]?.query.get("start-after")).toBe("pre/a");
  });
});

/** The answer to a batch: each key that was asked for is deleted, but for those that are told to be left. */
function deleted({ body }: Pick<Seen, "body">, left: Record<string, string> = {}): Response {
  const keys = Array.from(new TextDecoder().decode(body).matchAll(/<Key>([^<]*)</g), ([, key = ""]) => key);
  const entries = keys.map((key) =>
    left[key] === undefined
      ? `<Deleted><Key>${key}</Key></Deleted>`
      : `<Error><Key>${key}</Key><Code>${left[key]}</Code><Message>no</Message></Error>`
  );
  return new Response(`<DeleteResult>${entries.join("")}</DeleteResult>`);
}

describe("S3Store.delete()", () => {
  test("sends batches of a thousand keys with an MD5", async () => {
    const { store, seen } = await serve((request) => deleted(request));
    expect(await store.delete(Array.from({ length: 1001 }, (_, index) => `k${index}`))).toEqual([]);
    expect(seen.map(({ body }) => new TextDecoder().decode(body).split("<Key>").length - 1)).toEqual([
      1000,
      1,
    ]);
    for (const { headers, body } of seen) {
      expect(headers.get("content-md5")).toBe(new Bun.MD5().update(body).digest("base64"));
    }
  });
  test.each([400, 405, 501])(
    "deletes one by one, from then on, when the server answers %d to a batch",
    async (status) => {
      const { store, seen } = await serve(({ method, path }) =>
        method === "POST"
          ? failed(status, "NotImplemented")
          : failed(path.endsWith("/b") ? 403 : 204, path.endsWith("/b") ? "AccessDenied" : "")
      );
      expect(await store.delete(["a", "b"])).toEqual([{ key: "b", refused: true, reason: "AccessDenied" }]);
      expect(await store.delete(["c"])).toEqual([]);
      expect(seen.map(({ method, path }) => `${method} ${path}`).toSorted()).toEqual(
        ["DELETE /bucket/pre/a", "DELETE /bucket/pre/b", "DELETE /bucket/pre/c", "POST /bucket/"],
      );
    },
  );
  test("tells every key as refused when the whole batch is", async () => {
    const { store } = await serve(() => failed(403, "AccessDenied"));
    expect(await store.delete(["a", "b"])).toEqual(
      ["a", "b"].map((key) => ({ key, refused: true, reason: "AccessDenied" })),
    );
  });
  test("tells what remains and why, and tries again what may pass", async () => {
    const { store, seen } = await serve((request, index) =>
      deleted(request, index === 0 ? { "pre/a": "AccessDenied", "pre/b": "SlowDownWrite" } : {})
    );
    expect(await store.delete(["a", "b", "c"])).toEqual([{
      key: "a",
      refused: true,
      reason: "AccessDenied: no",
    }]);
    expect(new TextDecoder().decode(seen[1]?.body)).not.toContain("pre/a");
  });
  test("tries again what the answer does not name", async () => {
    const { store, seen } = await serve((request, index) =>
      index === 0
        ? new Response("<DeleteResult><Deleted><Key>pre/a</Key></Deleted></DeleteResult>")
        : deleted(request)
    );
    expect(await store.delete(["a", "b"])).toEqual([]);
    expect(new TextDecoder().decode(seen[1]?.body)).not.toContain("pre/a");
  });
  test("is tried again when the answer is about something else, too", async () => {
    const other = "<Deleted><Key>pre/b</Key></Deleted>";
    const { store, lines } = await serve((request, index) =>
      index === 0
        ? new Response(`<DeleteResult><Deleted><Key>pre/a</Key></Deleted>${other}</DeleteResult>`)
        : deleted(request)
    );
    expect(await store.delete(["a"])).toEqual([]);
    expect(lines[0]).toContain('it names "pre/b", which was not in the request');
  });
  test("takes what is not there as deleted", async () => {
    const { store } = await serve((request) => deleted(request, { "pre/a": "NoSuchKey" }));
    expect(await store.delete(["a", "b"])).toEqual([]);
  });
  test("does not fall back to single deletions for a failure that passes", async () => {
    const { store, seen } = await serve((request, index) =>
      index === 0 ? failed(400, "BadDigest") : deleted(request)
    );
    expect(await store.delete(["a"])).toEqual([]);
    expect(seen.map(({ method }) => method)).toEqual(["POST", "POST"]);
  });
  test("is tried again when a single deletion is answered by a web page", async () => {
    const page = () => new Response("<html>", { headers: { "content-type": "text/html" } });
    const { store, lines } = await serve(({ method }, index) =>
      method === "POST" ? failed(501, "NotImplemented") : index === 1 ? page() : failed(204)
    );
    expect(await store.delete(["a"])).toEqual([]);
    expect(lines).toHaveLength(1);
  });
  test("throws when the credentials are wrong", async () => {
    const { store } = await serve(() => failed(403, "SignatureDoesNotMatch"));
    expect(await rejection(store.delete(["a"]))).toBeInstanceOf(StoreError);
  });
});

describe("S3Store.history", () => {
  const time = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>";
  const whole = "<IsTruncated>false</IsTruncated>";
  const version = (key: string, more = "") =>
    `<Version><Key>${key}</Key><VersionId>1</VersionId><Size>1</Size>${time}${more}</Version>`;
  const versions = (content: string) => new Response(`<ListVersionsResult>${content}</ListVersionsResult>`);
  const uploads = (content: string) =>
    new Response(`<ListMultipartUploadsResult>${content}</ListMultipartUploadsResult>`);

  const LIES: [what: string, versions: Response, uploads: Response][] = [
    ["versions that do not say whether they are all", versions(version("pre/a")), uploads(whole)],
    ["no answer at all", new Response(""), uploads(whole)],
    ["versions of another prefix", versions(`${whole}<Prefix>other/</Prefix>`), uploads(whole)],
    ["versions of another bucket", versions(`${whole}<Name>other</Name>`), uploads(whole)],
    ["versions outside", versions(whole + version("other/a")), uploads(whole)],
    ["versions out of order", versions(whole + version("pre/b") + version("pre/a")), uploads(whole)],
    [
      "a version without an id",
      versions(`${whole}<Version><Key>pre/a</Key><Size>1</Size>${time}</Version>`),
      uploads(whole),
    ],
    [
      "a version without a size",
      versions(`${whole}<Version><Key>pre/a</Key><VersionId>1</VersionId>${time}</Version>`),
      uploads(whole),
    ],
    [
      "versions that are cut and say not where to go on",
      versions("<IsTruncated>true</IsTruncated>"),
      uploads(whole),
    ],
    ["no answer for uploads", versions(whole), new Response("")],
    ["uploads that do not say whether they are all", versions(whole), uploads("")],
    ["uploads of another bucket", versions(whole), uploads(`${whole}<Bucket>other</Bucket>`)],
    ["an upload without an id", versions(whole), uploads(`${whole}<Upload><Key>pre/a</Key></Upload>`)],
    [
      "uploads that are cut and say not where to go on",
      versions(whole),
      uploads("<IsTruncated>true</IsTruncated>"),
    ],
  ];
  test.each(LIES)("is tried again when it is told %s", async (_, versions, uploads) => {
    const { store } = await serve(({ query }) => (query.has("versions") ? versions : uploads).clone());
    const pages = Array.fromAsync(versionPages(store.history!, "", {}));
    const error = await rejection(pages);
    expect(error).toMatchObject({ retryable: true });
    expect((error as Error).message).toMatch(
      /Cannot list the .* in "s3:\/\/bucket\/pre\/": the answer of .* is not usable: /,
    );
  });
  test("does not take a lock as ended when a 404 does not say so", async () => {
    const trace = { key: "a", kind: "version", id: "1", isLatest: true, sizeBytes: 1 } as const;
    const { store } = await serve(({ method }) => failed(404, method === "HEAD" ? "" : "NoSuchVersion"));
    expect(await store.history!.lockOf(trace, {})).toEqual({ untilMs: undefined, legalHold: false });
    const { store: silent } = await serve(() => failed(404));
    expect(await rejection(silent.history!.lockOf(trace, {}))).toMatchObject({ retryable: true });
  });
});

/** A timer that runs out when the test says so. */
class ManualTimer {
  started = 0;
  #callback: (() => void) | undefined;
  readonly start: StartTimer = (callback, delayMs) => {
    expect(delayMs).toBe(PROGRESS_LIMIT_MS);
    this.started++;
    this.#callback = callback;
    return () => (this.#callback = undefined);
  };
  runOut(): void {
    this.#callback?.();
  }
}

describe("the limit without progress", () => {
  test("ends a request when the server never answers", async () => {
    const timer = new ManualTimer();
    const { store, lines, host } = await serve(async (_, index) => {
      if (index > 0) return new Response("ok", { headers: { etag: '"x"' } });
      timer.runOut();
      return await new Promise<Response>(() => {});
    }, timer.start);
    expect(await store.get("a")).toEqual(bytes("ok"));
    const state = `"${host}" made no progress for 60 s`;
    expect(lines).toEqual([`Attempt 1 failed, the next in 0.0 s: Cannot read "s3://bucket/pre/a": ${state}`]);
  });
  test("starts anew with each piece when a download comes slowly, and ends it when it stops", async () => {
    const timer = new ManualTimer();
    const { store, lines } = await serveRaw(async (socket, index) => {
      socket.write('HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 4\r\n\r\n');
      for (const piece of index === 0 ? ["o", "n", "e"] : ["d", "o", "n", "e"]) {
        const before = timer.started;
        socket.write(piece);
        while (timer.started === before) await new Promise((resolve) => setImmediate(resolve));
      }
      if (index === 0) timer.runOut();
      else socket.end();
    }, timer.start);
    expect(await store.get("a")).toEqual(bytes("done"));
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain("made no progress");
  });
  test("starts anew while an upload moves, and ends it when the server stops reading", async () => {
    const timer = new ManualTimer();
    const sizeBytes = 32 * 1024 * 1024; // more than the sockets' buffers take in
    let startedAtStop = 0;
    const { store, lines } = await serveRaw(async (socket, index) => {
      if (index > 0) return void socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
      socket.pause();
      while (startedAtStop !== timer.started) {
        startedAtStop = timer.started;
        for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve));
      }
      timer.runOut();
    }, timer.start);
    const error = await rejection(store.put("a", new Uint8Array(sizeBytes)));
    expect(error).toMatchObject({ retryable: false });
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain('Cannot write "s3://bucket/pre/a": ');
    expect(lines[0]).toContain("made no progress");
    expect(startedAtStop).toBeGreaterThan(2);
    expect(startedAtStop).toBeLessThan(sizeBytes / (128 * 1024));
  });
  test("a request ends with the signal's reason at once when it is aborted while it hangs", async () => {
    const reason = new InterruptedError();
    for (const method of ["get", "put", "head", "list", "delete"] as const) {
      const controller = new AbortController();
      const { store } = await serve(() => {
        controller.abort(reason);
        return new Promise<Response>(() => {});
      });
      const { signal } = controller;
      const run = {
        get: () => store.get("a", { signal }),
        put: () => store.put("a", bytes("x"), { signal }),
        head: () => store.head("a", { signal }),
        list: () => store.list("a", { signal }).next(),
        delete: () => store.delete(["a"], { signal }),
      }[method];
      expect(await rejection(run())).toBe(reason);
    }
  });
});

/** A server below HTTP: `answer` is called for each connection once a request's head has come. */
async function serveRaw(answer: (socket: Socket, index: number) => unknown, startTimer?: StartTimer) {
  let count = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => answer(socket, count++));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  return await connect((server.address() as { port: number }).port, startTimer);
}
