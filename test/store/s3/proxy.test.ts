/** Which proxy a request goes through, by the environment. */
import { describe, expect, test } from "bun:test";
import { proxyOf } from "../../../src/store/s3/proxy.ts";

const HTTP = new URL("http://s3.example.com:9000");
const HTTPS = new URL("https://s3.example.com");
const PROXY = { http_proxy: "http://proxy:3128", https_proxy: "http://secure:3128" };

describe("proxyOf()", () => {
  test("is the variable of the endpoint's protocol, in small letters first", () => {
    expect(proxyOf(HTTP, PROXY)).toEqual({ host: "proxy:3128", variable: "http_proxy" });
    expect(proxyOf(HTTPS, PROXY)).toEqual({ host: "secure:3128", variable: "https_proxy" });
    expect(proxyOf(HTTPS, { HTTPS_PROXY: "http://capitals" })).toEqual({
      host: "capitals",
      variable: "HTTPS_PROXY",
    });
    expect(proxyOf(HTTPS, { HTTPS_PROXY: "http://capitals", https_proxy: "http://small" })?.variable).toBe(
      "https_proxy",
    );
  });

  test("is nothing where none is set, or only for the other protocol", () => {
    expect(proxyOf(HTTP, {})).toBeUndefined();
    expect(proxyOf(HTTP, { http_proxy: "", HTTP_PROXY: "" })).toBeUndefined();
    expect(proxyOf(HTTP, { https_proxy: "http://p" })).toBeUndefined();
  });

  test("holds no password", () => {
    expect(proxyOf(HTTP, { http_proxy: "http://user:secret@proxy:1" })?.host).toBe("proxy:1");
    expect(proxyOf(HTTP, { http_proxy: "user:secret@proxy:1" })?.host).not.toContain("secret");
    expect(proxyOf(HTTP, { http_proxy: "proxy.example:8080" })?.host).toBe("proxy.example:8080");
  });

  test.each([
    "*",
    "s3.example.com",
    "example.com",
    ".example.com",
    "*.example.com",
    "s3.example.com:9000",
    "other, S3.Example.COM ",
  ])("is nothing with no_proxy=%p", (no_proxy) => {
    expect(proxyOf(HTTP, { ...PROXY, no_proxy })).toBeUndefined();
    expect(proxyOf(HTTP, { ...PROXY, NO_PROXY: no_proxy })).toBeUndefined();
  });

  test.each(["", "other.com", "xample.com", "s3.example.com:443", "s3"])(
    "is the proxy with no_proxy=%p",
    (no_proxy) => expect(proxyOf(HTTP, { ...PROXY, no_proxy })?.host).toBe("proxy:3128"),
  );

  test("an entry with a port is compared with the protocol's own, too", () => {
    expect(proxyOf(HTTPS, { ...PROXY, no_proxy: "example.com:443" })).toBeUndefined();
    expect(proxyOf(HTTPS, { ...PROXY, no_proxy: "example.com:80" })?.host).toBe("secure:3128");
  });
});
