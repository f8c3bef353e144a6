/** The S3 store, with the retries around it, against a server that misbehaves as each test says. */
import { afterEach, describe, expect, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import { InterruptedError, MissingError, StoreError } from "../../src/errors.ts";
import type { StartTimer } from "../../src/store/progress_limit.ts";
import { RetryStore } from "../../src/store/retry.ts";
import { S3Store } from "../../src/store/s3.ts";
import { PROGRESS_LIMIT_MS } from "../../src/store/progress_limit.ts";
import { bytes, keysOf, rejection } from "./contract.ts";
import { connectBucket } from "./s3_connection.ts";

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
    const { store, lines, seen, host } = await serve((_, index) =>
      index === 0 ? failed(500, "InternalError", "We are sorry") : new Response()
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
  test.each([[408, "RequestTimeout"], [429, "TooManyRequests"], [503, "SlowDown"], [404, "NoSuchKey"], [
    400,
    "RequestTimeout",
  ], [
    502,
    "",
  ]])(
    "is tried again when the server answers %d %s",
    async (status, code) => {
      const { store, lines } = await serve((_, index) => index < 2 ? failed(status, code) : new Response());
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
    const { store, lines } = await serve((_, index) => index < 1 ? page() : new Response());
    await store.put("a", bytes("hello"));
    expect(lines.length).toBe(1);
  });
  test.each([
    [403, "AccessDenied", "access denied (403 AccessDenied)"],
    [403, "", "access denied (403)"],
    [403, "InvalidAccessKeyId", "the access key is not known there (403 InvalidAccessKeyId)"],
    [403, "SignatureDoesNotMatch", "the secret access key is wrong (403 SignatureDoesNotMatch)"],
    [
      403,
      "RequestTimeTooSkewed",
      "this host's clock and the store's differ too much (403 RequestTimeTooSkewed)",
    ],
    [404, "NoSuchBucket", 'there is no bucket "bucket" at "HOST" (404)'],
    [
      301,
      "PermanentRedirect",
      'bucket "bucket" is in another region: set AWS_REGION (301 PermanentRedirect)',
    ],
    [400, "InvalidArgument", '"HOST" answered (400 InvalidArgument)'],
  ])("is final, with a clear message, when the server answers %d %s", async (status, code, state) => {
    const { store, lines, seen, host } = await serve(() => failed(status, code));
    const error = await rejection(store.put("a", bytes("hello")));
    expect(error).toBeInstanceOf(StoreError);
    expect((error as Error).message).toBe(`Cannot write "s3://bucket/pre/a": ${state.replace("HOST", host)}`);
    expect((error as Error).cause).toBeDefined();
    expect(seen.length).toBe(code === "AccessDenied" ? 3 : 1);
    expect(lines).toEqual([]);
  });
  test("succeeds when access is denied only for a moment", async () => {
    const { store, lines } = await serve((_, index) =>
      index < 2 ? failed(403, "AccessDenied") : new Response()
    );
    await store.put("a", bytes("hello"));
    expect(lines).toEqual([]);
  });
  test("signs the body's hash and sends its length when the body is shared memory", async () => {
    const { store, seen } = await serve(() => new Response());
    const body = new Uint8Array(new SharedArrayBuffer(3_000_000)).fill(7);
    await store.put("a", body);
    const [request] = seen;
    expect(Buffer.compare(request!.body, body)).toBe(0);
    expect(request!.headers.get("content-length")).toBe("3000000");
    expect(request!.headers.get("x-amz-content-sha256")).toBe(new Bun.SHA256().update(body).digest("hex"));
  });
});

describe("S3Store.get()", () => {
  test("is tried again when the body is cut short", async () => {
    const { store, lines } = await serveRaw((socket, index) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
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
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    expect(await store.get("a")).toEqual(bytes("ok"));
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain(`Cannot read "s3://bucket/pre/a": no connection to "${host}" (`);
  });
  test("throws an error that names the host when nobody listens", async () => {
    const closed = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
    await closed.stop(true);
    const { store, lines, host } = await connect(closed.port!);
    const error = await rejection(store.get("a"));
    expect(error).toMatchObject({ retryable: true });
    expect((error as Error).message).toContain(
      `Cannot read "s3://bucket/pre/a": no connection to "${host}" (ECONNREFUSED); nothing was answered well since `,
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
      expect((error as Error).message).toBe('Cannot look up "s3://bucket/pre/a": access denied (403)');
    }
  });
  test("throws StoreError when the server sends more than the range", async () => {
    const { store } = await serve(() => new Response("0123456789"));
    const error = await rejection(store.get("a", { range: { offset: 3, length: 2 } }));
    expect(error).toMatchObject({ retryable: false });
  });
});

describe("S3Store.head()", () => {
  test("throws StoreError when the 404 comes from a missing bucket", async () => {
    const { store, host } = await serve(() => failed(404));
    const error = await rejection(store.head("a"));
    expect((error as Error).message).toBe(
      `Cannot use "s3://bucket": there is no bucket "bucket" at "${host}" (404)`,
    );
  });
  test("asks for the bucket only once when objects are missing", async () => {
    const { store, seen } = await serve(({ path }) => failed(path === "/bucket/" ? 200 : 404));
    expect(await store.head("a")).toBeUndefined();
    expect(await store.head("b")).toBeUndefined();
    expect(seen.map(({ path }) => path)).toEqual(["/bucket/pre/a", "/bucket/", "/bucket/pre/b"]);
  });
  test("takes the bucket as there when the user may not look at it", async () => {
    const { store } = await serve(({ path }) => failed(path === "/bucket/" ? 403 : 404));
    expect(await store.head("a")).toBeUndefined();
  });
});

function listing(keys: string[], more = ""): Response {
  const contents = keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join("");
  const count = `<KeyCount>${keys.length}</KeyCount>`;
  return new Response(`<ListBucketResult>${count}${contents}${more}</ListBucketResult>`);
}

describe("S3Store.list()", () => {
  test("throws when a page is cut but does not say where to go on", async () => {
    const { store } = await serve(() => listing(["pre/a"], "<IsTruncated>true</IsTruncated>"));
    const error = await rejection(keysOf(store, ""));
    expect((error as Error).message).toContain("it is cut and says not where to go on");
  });
  test("throws when the keys do not ascend", async () => {
    const { store } = await serve(() => listing(["pre/b", "pre/a"]));
    const error = await rejection(keysOf(store, ""));
    expect((error as Error).message).toContain('"a" comes after "b"');
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

describe("S3Store.delete()", () => {
  test("sends batches of a thousand keys with an MD5", async () => {
    const { store, seen } = await serve(() => new Response("<DeleteResult/>"));
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
    const left = (key: string, code: string) =>
      `<Error><Key>pre/${key}</Key><Code>${code}</Code><Message>no</Message></Error>`;
    const { store, seen } = await serve((_, index) =>
      new Response(
        `<DeleteResult>${
          index === 0 ? left("a", "AccessDenied") + left("b", "SlowDown") : ""
        }</DeleteResult>`,
      )
    );
    expect(await store.delete(["a", "b", "c"])).toEqual([{
      key: "a",
      refused: true,
      reason: "AccessDenied: no",
    }]);
    expect(new TextDecoder().decode(seen[1]?.body)).not.toContain("pre/a");
  });
  test("throws when the credentials are wrong", async () => {
    const { store } = await serve(() => failed(403, "SignatureDoesNotMatch"));
    expect(await rejection(store.delete(["a"]))).toBeInstanceOf(StoreError);
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
      if (index > 0) return new Response("ok");
      timer.runOut();
      return await new Promise<Response>(() => {});
    }, timer.start);
    expect(await store.get("a")).toEqual(bytes("ok"));
    const state = `"${host}" gave no sign of progress for 60 s`;
    expect(lines).toEqual([`Attempt 1 failed, the next in 0.0 s: Cannot read "s3://bucket/pre/a": ${state}`]);
  });
  test("starts anew with each piece when a download comes slowly, and ends it when it stops", async () => {
    const timer = new ManualTimer();
    const { store, lines } = await serveRaw(async (socket, index) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
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
    expect(lines[0]).toContain("no sign of progress");
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
    expect(lines[0]).toContain("no sign of progress");
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
