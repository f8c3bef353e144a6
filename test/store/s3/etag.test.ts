/** What an ETag proves of an object's bytes, and where it proves nothing. */
import { describe, expect, test } from "bun:test";
import { crc32Of, md5Of, md5OfEtag } from "../../../src/store/s3/etag.ts";
import { utf8 } from "../../../src/util/bytes.ts";

type EtagContext = Parameters<typeof md5OfEtag>[0];

const HEX = "5d41402abc4b2a76b9719d911017c592";

test("md5Of() and crc32Of() are the sums of known bytes, in shared memory too", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(7), 1, 5);
  shared.set(utf8("hello"));
  for (const bytes of [utf8("hello"), shared]) {
    expect(md5Of(bytes)).toEqual({ hex: HEX, base64: "XUFAKrxLKna5cZ2REBfFkg==" });
    expect(crc32Of(bytes)).toBe("NhCmhg==");
  }
  expect(crc32Of(new Uint8Array())).toBe("AAAAAA==");
});

describe("md5OfEtag()", () => {
  test.each<[string, EtagContext]>([
    ["in quotes", { ETag: `"${HEX}"` }],
    ["without quotes", { ETag: HEX }],
    ["in capitals", { ETag: `"${HEX.toUpperCase()}"` }],
    ["with the store's own key", { ETag: HEX, ServerSideEncryption: "AES256" }],
  ])("is the MD5 of an ETag %s", (_, context) => expect(md5OfEtag(context, "bucket")).toBe(HEX));

  test.each<[string, EtagContext, string]>([
    ["no ETag", {}, "bucket"],
    ["an upload in parts", { ETag: `"${HEX}-2"` }, "bucket"],
    ["a key service", { ETag: HEX, ServerSideEncryption: "aws:kms" }, "bucket"],
    ["a key of the client's", { ETag: HEX, SSECustomerAlgorithm: "AES256" }, "bucket"],
    ["a directory bucket", { ETag: HEX }, "bucket--euc1-az1--x-s3"],
    ["another sum", { ETag: `"${HEX}00"` }, "bucket"],
    ["a weak ETag", { ETag: `W/"${HEX}"` }, "bucket"],
  ])("is nothing with %s", (_, context, bucket) => expect(md5OfEtag(context, bucket)).toBeUndefined());
});
