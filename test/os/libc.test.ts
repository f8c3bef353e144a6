/** The C library through openLibc(): found, and done without. */
import { expect, test } from "bun:test";
import { lazily, openLibc } from "../../src/os/libc.ts";

test("openLibc() gives functions of the C library when it has them", () => {
  const libc = openLibc({ getpid: { args: [], returns: "i32" } });
  expect(libc?.getpid()).toBe(process.pid);
});

test("openLibc() gives nothing when one of the functions is missing", () => {
  const wanted = {
    getpid: { args: [], returns: "i32" },
    no_such_function: { args: [], returns: "i32" },
  } as const;
  expect(openLibc(wanted)).toBeUndefined();
});

test("lazily() opens once, and only when asked", () => {
  let opened = 0;
  const get = lazily(() => {
    opened++;
    return undefined;
  });
  expect(opened).toBe(0);
  expect([get(), get()]).toEqual([undefined, undefined]);
  expect(opened).toBe(1);
});
