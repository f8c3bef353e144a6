/**
 * The built program and answers that are not the store's: MinIO behind a proxy that puts a page, an empty body or another
 * answer in their place. Nothing is believed, deleted or called stored that the store itself did not say.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFile, rm } from "node:fs/promises";
import { type Call, type Fault, FaultyS3, type Reply, s3Failure, webPage } from "../kit/faulty_s3.ts";
import { messages, withoutLog } from "../kit/log.ts";

import { describeWith } from "../kit/parts.ts";
import {
  CHUNK_BYTES,
  expectOneLine,
  lastLineText,
  noise,
  RUN_LIMIT_MS,
  TestRepository,
} from "../kit/repository.ts";
import type { VarveResult } from "../kit/varve.ts";
import { sha256 } from "../kit/chains.ts";
import { fullStream } from "../kit/rbd_stream.ts";
import { startProxiedRepository } from "../kit/proxied_repository.ts";

const SIZE_BYTES = 8 * CHUNK_BYTES;
const FIRST = noise(SIZE_BYTES, "first");
/** Given up soon: what is wrong with the answer is the error. */
const SOON = { VARVE_RETRY_FOR: "1s" };
/** Each attempt is told. */
const DEBUG = ["--log-level", "debug", "--log-format", "json"];
/** What every such error says, with what was wrong behind it. */
const UNUSABLE = /^varve: .*Cannot \S.* "s3:\/\/[^"]+": the answer of "127\.0\.0\.1:\d+" is not usable: /;

setDefaultTimeout(RUN_LIMIT_MS);

describeWith(["MinIO"], "varve when something answers in the store's place", () => {
  let stop: () => Promise<void>;
  let proxy: FaultyS3;
  let repository: TestRepository;
  let volumes = 0;
  let volume: string;

  beforeAll(async () => {
    ({ proxy, repository, stop } = await startProxiedRepository());
    await repository.backUp("acme/first", FIRST);
  });
  /** Each test has a volume with content of its own. */
  beforeEach(() => {
    proxy.reset();
    volume = `acme/volume-${++volumes}`;
  });
  afterAll(() => stop?.());

  /** Without what the host remembers: the store is asked. */
  const run = (args: string[], env: Record<string, string> = SOON) =>
    repository.run(args, {
      env: { ...env, XDG_CACHE_HOME: repository.path(`cache-${crypto.randomUUID()}`) },
    });
  const content = () => noise(SIZE_BYTES, volume);
  const backUp = (env: Record<string, string> = {}, ...more: string[]) =>
    repository.run(["backup", volume, "--json", ...more], { stdin: fullStream(content()), env });
  const committed = async (result: VarveResult) => {
    expect({ code: result.code, stderr: withoutLog(lastLineText(result)) }).toEqual({ code: 0, stderr: "" });
    repository.expectPoint(volume, JSON.parse(result.stdout).backup, content());
    await repository.expectNothingNew();
  };
  /** Answers some calls with `fault`, at most `times`. */
  const answer = (isMeant: (call: Call) => boolean, fault: Fault, times = Infinity) => {
    let left = times;
    proxy.faultOf = (call) => isMeant(call) && left-- > 0 ? fault : undefined;
  };

  describe("a listing of the points", () => {
    const isListing = ({ query }: Call) =>
      query.get("list-type") === "2" && /\/volumes\/|acme\/$/.test(query.get("prefix") ?? "");
    const isAnyListing = ({ query }: Call) => query.get("list-type") === "2" || query.has("versions");
    const xml = (body: string): Reply => ({
      headers: { "content-type": "application/xml", "content-length": String(body.length) },
      body,
    });
    const edit = (from: RegExp, to: string) => ({ body, headers }: Required<Reply>) => {
      const { "content-length": _, ...rest } = headers;
      const before = Buffer.from(body as Uint8Array).toString();
      return { headers: rest, body: before.replace(from, to) };
    };
    const LIES: [what: string, fault: Fault, says: string | RegExp][] = [
      ["is empty", { headers: { "content-type": "application/xml", "content-length": "0" } }, "it is empty"],
      ["is a web page", webPage(), "it is a web page (text/html)"],
      ["is a web page without a type", { body: "<!DOCTYPE html><html></html>" }, "it is a web page"],
      ["is JSON", xml('{"items":[]}'), "it is not XML with the root"],
      [
        "has another root",
        xml("<ListAllMyBucketsResult></ListAllMyBucketsResult>"),
        "it is not XML with the root",
      ],
      [
        "is an error with the status of a success",
        { ...s3Failure(200, "InternalError") },
        "it is an error with a success status",
      ],
      ["ends in the middle", ({ body, headers: { "content-length": _, ...headers } }) => ({
        headers,
        body: (body as Uint8Array).subarray(0, body.length / 2),
      }), "its XML is truncated"],
      ["does not say whether it is all", edit(/<IsTruncated>\w+<\/IsTruncated>/, ""), "(IsTruncated)"],
      ["is of another prefix", edit(/<Prefix>[^<]*</, "<Prefix>other/<"), 'it is for prefix "other/"'],
      ["is of another bucket", edit(/<Name>[^<]*</, "<Name>other<"), 'it is for bucket "other"'],
      [
        "is cut and says not where to go on",
        edit(/<IsTruncated>false/, "<IsTruncated>true"),
        "no continuation token",
      ],
      ["is answered by another status", { status: 204 }, "its status is 204"],
      [
        "leads elsewhere",
        { status: 302, headers: { location: "http://login.example/" } },
        "it is a redirect (302)",
      ],
    ];
    for (const [what, fault, says] of LIES) {
      test(`that ${what} is an error of list, gc, verify and erase, and nothing is deleted`, async () => {
        answer(isListing, fault);
        for (const args of [["list"], ["list", "acme/first"], ["gc", "acme"], ["verify", "--exists"]]) {
          expectUnusable(await run(args), says);
        }
        answer(isAnyListing, fault);
        expectUnusable(await run(["erase", "acme", "--yes-erase", "acme"]), says);
        proxy.reset();
        await repository.expectNothingNew();
      });
    }

    const isEntries = ({ query }: Call) =>
      query.get("list-type") === "2" && /\/(volumes|chunks)\//.test(query.get("prefix") ?? "") &&
      !query.has("delimiter");
    const ENTRY_LIES: [what: string, fault: Fault, says: string][] = [
      ["counts more entries than it has", edit(/<KeyCount>\d+</, "<KeyCount>999<"), "it claims 999 entries"],
      ["leaves out an entry that it counts", edit(/<Contents>.*?<\/Contents>/s, ""), "entries but has "],
      ["has an entry of elsewhere", edit(/<Key>repository/, "<Key>elsewhere"), "which is outside"],
      ["has an entry without a time", edit(/<LastModified>[^<]*<\/LastModified>/, ""), "no valid time"],
      ["has an entry without a size", edit(/<Size>[^<]*<\/Size>/, ""), "no valid size for"],
      ["has an entry of a negative size", edit(/<Size>\d/, "<Size>-1"), "no valid size for"],
    ];
    for (const [what, fault, says] of ENTRY_LIES) {
      test(`that ${what} is an error of gc and verify, and nothing is deleted`, async () => {
        answer(isEntries, fault);
        for (const args of [["gc", "acme"], ["verify", "--exists", "acme"]]) {
          expectUnusable(await run(args), says);
        }
        proxy.reset();
        await repository.expectNothingNew();
      });
    }

    test("that was answered wrongly once is asked for again", async () => {
      answer(isListing, { body: "" }, 1);
      const { code, stdout, stderr } = await run(["list", "acme", "--json", ...DEBUG], {});
      expect({ code, points: JSON.parse(stdout).length > 0 }).toEqual({ code: 0, points: true });
      expect(retries(stderr)).toHaveLength(1);
    });
    test("is intact after all of these", async () => await repository.expectIntact());
  });

  describe("an object", () => {
    const isManifest = ({ method, key }: Call) => method === "GET" && key.includes("/volumes/");
    const isChunk = ({ method, key }: Call) => method === "GET" && key.includes("/chunks/");
    const isFirst = ({ method, key }: Call) => method === "GET" && key.endsWith("varve.json");

    test("that a proxy calls missing with a page is not missing: list, gc and verify fail", async () => {
      answer(isManifest, webPage(404));
      await expectWithheld('it is a 404 with a web page that is not from S3: "<html><body>Please log in');
    });
    test("that is said to be missing without a word for it is not missing", async () => {
      answer(isManifest, 404);
      await expectWithheld("it is a 404 that does not name the missing object");
    });
    test("in whose place a web page comes is told with its address", async () => {
      for (
        const page of [webPage(), webPage(403), { ...webPage(), headers: { "content-type": "text/html" } }]
      ) {
        answer(isFirst, page);
        const result = await run(["list"]);
        expectUnusable(result, "web page");
        expect(result.stderr).toContain(`"${repository.url}/varve.json"`);
      }
    });

    /** The point is named as one that cannot be read, by every command, and nothing is deleted. */
    const expectWithheld = async (says: string) => {
      for (const args of [["list", "acme"], ["gc", "acme"], ["verify", "--exists", "acme"]]) {
        const { code, stdout, stderr } = await run(args);
        expect(code).toBe(3);
        // What is told of an attempt, as a line of JSON, has the words, too.
        expect((stdout + stderr).replaceAll('\\"', '"')).toContain(says);
      }
      proxy.reset();
      await repository.expectIntact();
    };
    /** The body as it is, and the headers as told; `undefined` takes one away. */
    const sentWith =
      (changes: Record<string, string | undefined>) => ({ body, headers }: Required<Reply>) => {
        const kept = Object.entries({ ...headers, ...changes }).filter(([, value]) => value !== undefined);
        return { body, headers: Object.fromEntries(kept) as Record<string, string> };
      };
    const asItCame = (fault: (answer: Required<Reply>) => Reply) => (answer: Required<Reply>) => ({
      status: answer.status,
      ...fault(answer),
    });

    test("restores when answers come without a length", async () => {
      answer(({ method }) => method === "GET", asItCame(sentWith({ "content-length": undefined })));
      await expectRestored(await restore());
    });
    test("restores when bodies are cut, compressed, doubled or of another object once", async () => {
      const faults: ((answer: Required<Reply>) => Reply)[] = [
        sentWith({ "content-encoding": "gzip" }),
        ({ body }) => ({ body: (body as Uint8Array).subarray(1) }),
        ({ body, headers: { "content-length": _, ...headers } }) => ({ headers, body: body.slice(0, -1) }),
        ({ body, headers: { "content-length": _, ...headers } }) => ({
          headers,
          body: Buffer.concat([body as Uint8Array, body as Uint8Array]),
        }),
        () => ({ headers: { "content-length": "0" } }),
        () => webPage(),
      ];
      const left = [...faults, ...faults];
      proxy.faultOf = (call) => isChunk(call) && left.length > 0 ? asItCame(left.pop()!) : undefined;
      const result = await restore(...DEBUG);
      expect(retries(result.stderr)).toHaveLength(2 * faults.length);
      await expectRestored(result);
    });
    test("that has no time or no length is an error, not one of 1970", async () => {
      for (const header of ["Last-Modified", "Content-Length", "ETag"]) {
        answer(({ method }) => method === "HEAD", asItCame(sentWith({ [header.toLowerCase()]: undefined })));
        const result = await backUp(SOON);
        expectUnusable(result, header);
        proxy.reset();
        await repository.expectNothingNew();
      }
    });
    test("that is archived is called so", async () => {
      answer(isChunk, s3Failure(403, "InvalidObjectState"));
      const line = /it is archived; restore it in the store first \(403 InvalidObjectState\)/;
      expectOneLine(await restore(), { code: 3, line });
    });

    const restore = async (...more: string[]) => {
      await rm(repository.path("restored.img"), { force: true });
      const to = repository.path("restored.img");
      return await repository.run(["restore", "acme/first", "--to", to, ...more]);
    };
    const expectRestored = async (result: VarveResult) => {
      expect({ code: result.code, stderr: withoutLog(lastLineText(result)) }).toEqual({
        code: 0,
        stderr: "",
      });
      expect(sha256(await readFile(repository.path("restored.img")))).toBe(sha256(FIRST));
    };
  });

  describe("a write", () => {
    const isWrite = (part: string) => ({ method, key }: Call) => method === "PUT" && key.includes(part);
    const withEtag =
      (etag: string | undefined) =>
      ({ headers: { etag: _, "x-amz-checksum-crc32": __, ...headers } }: Required<Reply>) => ({
        headers: etag === undefined ? headers : { ...headers, etag },
      });
    const LIES: [what: string, fault: Fault, says: string][] = [
      ["is a web page", webPage(), "it is a web page (text/html)"],
      [
        "is a web page with an ETag",
        { ...webPage(), headers: { "content-type": "text/html", etag: '"x"' } },
        "web page",
      ],
      ["has no ETag", { headers: { "content-length": "0" } }, "it has no ETag"],
      ["has no ETag, though it is stored", withEtag(undefined), "it has no ETag"],
      [
        "has the CRC-32 of other bytes",
        ({ headers }) => ({ headers: { ...headers, "x-amz-checksum-crc32": "AAAAAA==" } }),
        "does not match the bytes sent",
      ],
      [
        "has the ETag of other bytes",
        withEtag('"00000000000000000000000000000000"'),
        "does not match the bytes sent",
      ],
      ["is only accepted", { status: 202, headers: { etag: '"x"' } }, "its status is 202"],
      ["is answered by a page that says 404", webPage(404), "it is a 404 with a web page"],
    ];
    for (const [what, fault, says] of LIES) {
      test(`whose answer ${what} counts as nothing stored`, async () => {
        answer(isWrite("/chunks/"), fault);
        const failed = await backUp(SOON);
        expect(failed.stderr).toContain(says);
        expect({ code: failed.code, stdout: failed.stdout }).toEqual({ code: 1, stdout: "" });
        answer(isWrite("/volumes/"), fault);
        const result = await backUp(SOON);
        proxy.reset();
        // The manifest is looked for: where only the answer was wrong, it is there.
        if (typeof fault === "function") return await committed(result);
        expect(result.stderr).toContain(says);
        expect({ code: result.code, stdout: result.stdout }).toEqual({ code: 1, stdout: "" });
        await repository.expectNothingNew();
      });
    }
    test("is done again when its answer was a web page once", async () => {
      answer(isWrite("/volumes/"), webPage(), 1);
      const result = await backUp({}, ...DEBUG);
      expect(retries(result.stderr)).toHaveLength(1);
      await committed(result);
    });
    test("with an ETag that is no MD5 has stored it when the store says that it encrypts", async () => {
      const headers = ({ headers: { "x-amz-checksum-crc32": _, ...headers } }: Required<Reply>) => ({
        headers: {
          ...headers,
          etag: '"00000000000000000000000000000000"',
          "x-amz-server-side-encryption": "aws:kms",
        },
      });
      answer(({ method }) => method === "PUT", headers);
      await committed(await backUp(SOON));
    });
    test.each(["content-md5", "x-amz-checksum-crc32"])(
      "has a %s, where the store asks for one",
      async (name) => {
        answer(({ method, headers }) => method === "PUT" && !headers[name], s3Failure(400, "InvalidRequest"));
        await committed(await backUp(SOON));
      },
    );

    const PASSING: [status: number, code: string][] = [
      [403, "RequestTimeTooSkewed"],
      [400, "ExpiredToken"],
      [409, "OperationAborted"],
      [400, "IncompleteBody"],
      [400, "BadDigest"],
      [400, "XAmzContentSHA256Mismatch"],
      [425, "TooEarly"],
      [499, "ClientDisconnected"],
      [400, "RequestTimeout"],
      [503, "SlowDownWrite"],
    ];
    test("is tried again after each refusal that may pass", async () => {
      const left = PASSING.map(([status, code]) => s3Failure(status, code));
      proxy.faultOf = (call) => isWrite("/chunks/")(call) ? left.pop() : undefined;
      const result = await backUp({}, ...DEBUG);
      expect(retries(result.stderr)).toHaveLength(PASSING.length);
      await committed(result);
    });
    test("says that the store is full, and is not tried again", async () => {
      answer(isWrite("/chunks/"), s3Failure(507, "XMinioStorageFull"));
      const result = await backUp({}, ...DEBUG);
      expect(retries(result.stderr)).toEqual([]);
      expect(lastLineText(result)).toMatch(
        /varve: Cannot write "s3:.*": no space left in the store \(507 XMinioStorageFull\)/,
      );
    });
  });

  describe("a deletion", () => {
    const isDelete = ({ method, query }: Call) => method === "POST" && query.has("delete");
    const deleteResult = (body: string): Reply => ({ body: `<DeleteResult>${body}</DeleteResult>` });

    const LIES: [what: string, fault: Fault][] = [
      ["is empty", { headers: { "content-length": "0" } }],
      ["names nothing", deleteResult("")],
      ["is a web page", webPage()],
      ["names something else", deleteResult("<Deleted><Key>other</Key></Deleted>")],
    ];
    for (const [what, fault] of LIES) {
      test(`whose answer ${what} has deleted nothing: forget fails, and the point is listed`, async () => {
        await repository.backUp(volume, content());
        answer(isDelete, fault);
        const result = await run(["forget", `${volume}@~0`]);
        expect({ code: result.code, says: result.stderr + result.stdout }).toEqual({
          code: 1,
          says: expect.stringMatching(/the answer of "[^"]+" is not usable: /),
        });
        proxy.reset();
        await repository.expectNothingNew();
      });
    }
    test("is tried again when its answer was empty or said to slow down once", async () => {
      const { backup } = await repository.backUp(volume, content());
      const slow = `<Error><Key>KEY</Key><Code>SlowDownWrite</Code></Error>`;
      const key = `repository/projects/acme/volumes/${volume.slice(5)}/${backup}`;
      const left = [deleteResult(slow.replace("KEY", key)), { headers: { "content-length": "0" } }];
      proxy.faultOf = (call) => isDelete(call) ? left.pop() : undefined;
      const result = await run(["forget", `${volume}@${backup}`], {});
      expect({ code: result.code, left: left.length }).toEqual({ code: 0, left: 0 });
      expectOneLine(await run(["list", volume, "--json"]), { code: 4, line: "it has no restore points" });
      repository.expectNoPoint(volume, backup);
    });
  });

  test("what was backed up restores as it was, after all of these", async () => {
    await repository.expectIntact();
  });
});

function expectUnusable(result: VarveResult, says: string | RegExp): void {
  const stderr = withoutLog(lastLineText(result));
  expectOneLine({ ...result, stderr }, { code: 1, line: UNUSABLE });
  expect(stderr).toMatch(says);
}

/** Of a run with `DEBUG`: the attempts that failed, in order. */
function retries(stderr: string): string[] {
  return messages(stderr).filter((text) => text.startsWith("Attempt "));
}
