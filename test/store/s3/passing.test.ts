import { describe, expect, test } from "bun:test";
import { isAboutObject, isFull, mayPass, retryAfterMs } from "../../../src/store/s3/passing.ts";

describe("mayPass()", () => {
  test.each([408, 425, 429, 499, 500, 502, 503, 504, 520])(
    "is true for the status %d whatever its code",
    (status) => {
      expect(mayPass({ status, code: "" })).toBe(true);
      expect(mayPass({ status, code: "Anything" })).toBe(true);
    },
  );
  test.each([
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "ThrottlingException",
    "RequestTimeTooSkewed",
    "ExpiredToken",
    "OperationAborted",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
  ])("is true for the code %s, with a status and inside an answer", (code) => {
    expect(mayPass({ status: 400, code })).toBe(true);
    expect(mayPass({ status: undefined, code })).toBe(true);
  });
  test.each([[400, "InvalidArgument"], [403, "AccessDenied"], [404, "NoSuchKey"], [501, "NotImplemented"], [
    400,
    "EntityTooLarge",
  ]])("is false for %d %s", (status, code) => expect(mayPass({ status, code })).toBe(false));
});

describe("isFull()", () => {
  test.each([[403, "QuotaExceeded"], [507, "XMinioStorageFull"], [507, ""], [
    400,
    "XMinioAdminBucketQuotaExceeded",
  ]])(
    "is true for %d %s, which does not pass",
    (status, code) => {
      expect(isFull({ status, code })).toBe(true);
      expect(mayPass({ status, code })).toBe(false);
    },
  );
  test("is false for an object that is too large", () => {
    expect(isFull({ status: 400, code: "EntityTooLarge" })).toBe(false);
  });
});

describe("isAboutObject()", () => {
  test.each([[403, "InvalidObjectState"], [403, "AccessDenied"], [400, "KMS.DisabledException"], [403, ""]])(
    "is true for %d %s",
    (status, code) => expect(isAboutObject({ status, code })).toBe(true),
  );
  test.each([
    [403, "InvalidAccessKeyId"],
    [403, "SignatureDoesNotMatch"],
    [404, "NoSuchBucket"],
    [400, "AuthorizationHeaderMalformed"],
    [401, ""],
    [407, ""],
    [301, "PermanentRedirect"],
    [501, "NotImplemented"],
  ])("is false for %d %s: nothing else can be read either", (status, code) => {
    expect(isAboutObject({ status, code })).toBe(false);
  });
});

describe("retryAfterMs()", () => {
  const date = "Sat, 28 Nov 2026 18:00:00 GMT";
  test("reads seconds, and a date by the answer's own clock", () => {
    expect(retryAfterMs({ "retry-after": "120" })).toBe(120_000);
    expect(retryAfterMs({ "retry-after": "Sat, 28 Nov 2026 18:00:30 GMT", date })).toBe(30_000);
    expect(retryAfterMs({ "retry-after": "Sat, 28 Nov 2026 17:00:00 GMT", date })).toBe(0);
  });
  test("is undefined when there is none, or none that can be read", () => {
    const unreadable: Record<string, string>[] = [{}, { "retry-after": "soon", date }, {
      "retry-after": "-1",
      date,
    }, {
      "retry-after": "Sat, 28 Nov 2026 18:00:30 GMT",
    }];
    for (const headers of unreadable) expect(retryAfterMs(headers)).toBeUndefined();
  });
});
