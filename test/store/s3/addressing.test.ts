import { expect, test } from "bun:test";
import { isPathStyle } from "../../../src/store/s3/addressing.ts";

const OWN = "http://127.0.0.1:9000";

test.each([
  ["path", undefined, true],
  ["path", "https://oss-eu.aliyuncs.com", true],
  ["virtual", OWN, false],
  ["auto", undefined, false],
  ["auto", OWN, true],
  ["auto", "https://s3.example.com", true],
  ["auto", "https://oss-eu-central-1.aliyuncs.com", false],
  ["auto", "https://cos.eu-frankfurt.myqcloud.com", false],
  ["auto", "https://obs.eu-101.myhuaweicloud.eu", false],
  ["auto", "https://aliyuncs.com.example.org", true],
  [undefined, OWN, true],
  ["no such style", OWN, true],
  ["no such style", undefined, false],
])("isPathStyle() of %p at %p is %p", (style, endpoint, isPath) => {
  expect(isPathStyle(style, endpoint === undefined ? undefined : new URL(endpoint))).toBe(isPath);
});
