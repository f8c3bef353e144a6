import { expect, test } from "bun:test";
import { lookTwice } from "../../../src/store/directory/look_twice.ts";
import { rejection } from "../../kit/rejection.ts";

const failure = (code: string) => Object.assign(new Error(code), { code });

/** Looks that fail one after the other, and then find "it". */
function looking(...codes: string[]) {
  let looks = 0;
  const found = lookTwice((again) => {
    expect(again).toBe(looks > 0);
    const code = codes[looks++];
    return code === undefined ? Promise.resolve("it") : Promise.reject(failure(code));
  });
  return { found, looks: () => looks };
}

test.each(["ENOENT", "ENOTDIR", "EISDIR", "EIO"])(
  "lookTwice() finds what one look fails to find by %s",
  async (code) => {
    const { found, looks } = looking(code);
    expect(await found).toBe("it");
    expect(looks()).toBe(2);
  },
);

test("lookTwice() finds nothing when two looks find nothing", async () => {
  for (const codes of [["ENOENT", "ENOENT"], ["EIO", "ENOENT"]]) {
    expect(await looking(...codes).found).toBeUndefined();
  }
});

test("lookTwice() throws an input/output error when it comes twice, and any other at once", async () => {
  for (const codes of [["EIO", "EIO"], ["ENOENT", "EIO"], ["EACCES"], ["ESTALE"]]) {
    const { found, looks } = looking(...codes);
    expect(await rejection(found)).toMatchObject({ code: codes.at(-1)! });
    expect(looks()).toBe(codes.length);
  }
});
