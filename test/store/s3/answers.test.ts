/** What an answer must have to be S3's own: pages of portals, cut XML and errors under a good status are none. */
import { describe, expect, test } from "bun:test";
import {
  AnswerError,
  assertAnswer,
  type Expectation,
  PlainTextError,
} from "../../../src/store/s3/answers.ts";
import { utf8 } from "../../../src/util/bytes.ts";

type RawAnswer = Parameters<typeof assertAnswer>[0];

const PAGE = "<!DOCTYPE html><html><body>Please log in</body></html>";
const LIST = '<?xml version="1.0"?>\n<ListBucketResult xmlns="x"><Name>b</Name></ListBucketResult>\n';
const ERROR = "<Error><Code>AccessDenied</Code></Error>";
const ROOT: Expectation = { root: "ListBucketResult" };

function answer(status: number, body: string | undefined, more: Partial<RawAnswer> = {}): RawAnswer {
  return { method: "GET", status, headers: {}, body: body === undefined ? undefined : utf8(body), ...more };
}

describe("assertAnswer() takes", () => {
  test.each<[string, RawAnswer, Expectation]>([
    ["the XML that is expected", answer(200, LIST), ROOT],
    ["an empty element", answer(200, '<ListBucketResult xmlns="x"/>'), ROOT],
    [
      "XML behind a mark and a comment",
      answer(200, "\uFEFF<!-- a --><ListBucketResult></ListBucketResult>"),
      ROOT,
    ],
    ["no body where none is expected", answer(200, ""), {}],
    ["an object's bytes, which it does not look at", answer(206, undefined), { statuses: [200, 206] }],
    ["a refusal of S3's", answer(403, ERROR), ROOT],
    ["a missing object of S3's", answer(404, "<Error><Code>NoSuchKey</Code></Error>"), {}],
    ["a head that finds nothing", answer(404, "", { method: "HEAD" }), {}],
    ["a server that fails for now, whatever it says", answer(503, PAGE), ROOT],
    ["a redirect to another region", answer(301, ""), {}],
  ])("%s", (_, raw, expectation) => expect(() => assertAnswer(raw, expectation)).not.toThrow());
});

describe("assertAnswer() refuses", () => {
  test.each<[string, RawAnswer, Expectation]>([
    [
      "a web page by its type",
      answer(200, undefined, { headers: { "content-type": "text/html; charset=x" } }),
      {},
    ],
    ["a web page by its text", answer(200, PAGE), {}],
    ["another status", answer(204, ""), {}],
    ["an error under a good status", answer(200, ERROR), ROOT],
    ["no body where XML is expected", answer(200, ""), ROOT],
    ["other XML", answer(200, "<Other></Other>"), ROOT],
    ["no XML", answer(200, "OK"), ROOT],
    ["XML that is cut", answer(200, LIST.slice(0, -5)), ROOT],
    ["a redirect of a portal", answer(302, ""), {}],
    ["a 404 that does not say what is missing", answer(404, ""), {}],
    ["a 404 with a page", answer(404, PAGE), {}],
    ["a 403 with a text", answer(403, "Forbidden by policy"), {}],
  ])("%s", (_, raw, expectation) => expect(() => assertAnswer(raw, expectation)).toThrow(AnswerError));

  test("a server that wants TLS, by an error of its own", () => {
    for (
      const text of [
        "Client sent an HTTP request to an HTTPS server.",
        "The plain HTTP request was sent to HTTPS port",
      ]
    ) {
      expect(() => assertAnswer(answer(400, text), {})).toThrow(PlainTextError);
    }
  });

  test("a page without repeating all of it", () => {
    const page = answer(403, `<html>${"x".repeat(10_000)}`);
    const failure = (() => {
      try {
        assertAnswer(page, {});
      } catch (error) {
        return error as Error;
      }
    })();
    expect(failure?.message.length).toBeLessThan(200);
  });
});
