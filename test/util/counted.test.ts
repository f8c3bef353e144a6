import { expect, test } from "bun:test";
import { counted } from "../../src/util/counted.ts";

test.each([
  [0, "0 objects"],
  [1, "1 object"],
  [2, "2 objects"],
])("counted(%d) is %p", (count, text) => expect(counted(count, "object")).toBe(text));
