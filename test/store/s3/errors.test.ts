import { describe, expect, test } from "bun:test";
import { StoreError, UnavailableError } from "../../../src/errors.ts";
import { s3Error, type S3Request } from "../../../src/store/s3/errors.ts";
import { ConnectionError } from "../../../src/store/s3/handler.ts";

const peer = { host: "s3.us-east-1.amazonaws.com", isAws: true, isTls: true, proxy: undefined };
const request: S3Request = {
  action: "read",
  url: "s3://bucket/pre/a",
  bucket: "bucket",
  key: "a",
  peer,
  last: undefined,
  unresolved: 0,
};

/** As the SDK gives it. */
function answer(status: number, code: string): Error {
  return Object.assign(new Error("no"), { name: code, Code: code, $metadata: { httpStatusCode: status } });
}

describe("s3Error()", () => {
  test("is about the one object when only that is refused", () => {
    for (
      const [status, code] of [[403, "InvalidObjectState"], [403, "AccessDenied"], [
        400,
        "KMS.DisabledException",
      ]] as const
    ) {
      expect(s3Error(request, answer(status, code))).toMatchObject({ key: "a", retryable: false });
      expect(s3Error(request, answer(status, code))).toBeInstanceOf(UnavailableError);
      expect(s3Error({ ...request, key: undefined }, answer(status, code))).not.toBeInstanceOf(
        UnavailableError,
      );
    }
  });
  test("is about all when nothing can be read, and retryable when it may pass", () => {
    for (
      const [status, code] of [[403, "InvalidAccessKeyId"], [404, "NoSuchBucket"], [503, "SlowDown"]] as const
    ) {
      const error = s3Error(request, answer(status, code));
      expect(error).not.toBeInstanceOf(UnavailableError);
      expect(error).toMatchObject({ retryable: status === 503 });
    }
  });
  test("says how long the store wants to be left alone, and that it is full", () => {
    const last = { status: 503, headers: { "retry-after": "7" } };
    expect(s3Error({ ...request, last }, answer(503, "SlowDown"))).toMatchObject({
      retryAfterMs: 7000,
      isFull: false,
    });
    const full = s3Error({ ...request, action: "write", key: undefined }, answer(507, "XMinioStorageFull"));
    expect(full).toMatchObject({ isFull: true, retryable: false });
  });
  test("says that AWS was meant when no endpoint is set, and looks its name up three times", () => {
    const failed = (unresolved: number) =>
      s3Error({ ...request, unresolved }, new ConnectionError("ENOTFOUND", "getaddrinfo ENOTFOUND"));
    expect(failed(1).message).toBe(
      'Cannot read "s3://bucket/pre/a": no S3 endpoint is set, so AWS was used, but "s3.us-east-1.amazonaws.com" cannot ' +
        "be found (ENOTFOUND); for another store set AWS_ENDPOINT_URL_S3 or --s3-endpoint",
    );
    // A name that has been found before is looked for as long as any other failure of the line.
    expect([0, 1, 2, 3].map((count) => (failed(count) as StoreError).retryable)).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });
  test("is retryable when what came is no HTTP, and not when the certificate is wrong", () => {
    for (
      const code of ["Malformed_HTTP_Response", "InvalidContentLength", "ECONNRESET", "ConnectionClosed"]
    ) {
      expect(s3Error(request, new ConnectionError(code, "…"))).toMatchObject({ retryable: true });
    }
    for (
      const code of [
        "CERT_HAS_EXPIRED",
        "DEPTH_ZERO_SELF_SIGNED_CERT",
        "ERR_TLS_CERT_ALTNAME_INVALID",
        "EPROTO",
      ]
    ) {
      expect(s3Error(request, new ConnectionError(code, "…"))).toMatchObject({ retryable: false });
    }
  });
  test("is retryable when a proxy is overloaded, not when it refuses", () => {
    const refused = (text: string) => {
      const error = new ConnectionError("ERR_PROXY_TUNNEL", "");
      error.message = text;
      return s3Error(request, error);
    };
    expect(refused("503 Service Unavailable")).toMatchObject({ retryable: true });
    expect(refused("403 Forbidden")).toMatchObject({ retryable: false });
  });
});
