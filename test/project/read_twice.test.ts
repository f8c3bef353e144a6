/** A second read of what looks damaged or gone, and of nothing else. */
import { describe, expect, test } from "bun:test";
import { DamageError, MissingError, StoreError, VarveError } from "../../src/errors.ts";
import { readTwice } from "../../src/project/read_twice.ts";
import { rejection } from "../kit/rejection.ts";

/** Reads that fail one after the other, and then give "it". */
function reads(...errors: Error[]) {
  let count = 0;
  const read = async () => {
    const error = errors[count++];
    if (error !== undefined) throw error;
    return "it";
  };
  return { read, count: () => count };
}

const damage = () => new DamageError("k", "Cannot read");
const missing = () => new MissingError("k", "Cannot read");

describe("readTwice()", () => {
  test.each([
    ["damage", damage()],
    ["nothing", missing()],
    ["another version", new VarveError("format_version", "Cannot read")],
  ])("reads again what was %s, and believes the second read", async (_, error) => {
    const once = reads(error);
    expect(await readTwice(once.read)).toBe("it");
    const second = damage();
    const twice = reads(error, second);
    expect(await rejection(readTwice(twice.read))).toBe(second);
    expect([once.count(), twice.count()]).toEqual([2, 2]);
  });

  test.each([
    ["a store that fails", new StoreError("Cannot read", { retryable: true })],
    ["another secret", new VarveError("wrong_secret", "Cannot open")],
    ["a defect", new TypeError("x is not a function")],
  ])("does not read again after %s", async (_, error) => {
    const { read, count } = reads(error);
    expect(await rejection(readTwice(read))).toBe(error);
    expect(count()).toBe(1);
  });

  test("with a key reads again only for that object", async () => {
    const other = reads(missing());
    expect(await rejection(readTwice(other.read, { key: "another" }))).toBeInstanceOf(MissingError);
    expect(other.count()).toBe(1);
    const own = reads(missing());
    expect(await readTwice(own.read, { key: "k" })).toBe("it");
  });
});
