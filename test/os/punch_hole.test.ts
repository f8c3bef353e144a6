/** Zeroing a range of a file by a hole, and what the page cache has of it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { dropPages, punchHole } from "../../src/os/punch_hole.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();
const MIB = 1024 * 1024;

describe("punchHole() and dropPages()", () => {
  let fd: number;
  beforeAll(() => {
    fs.writeFileSync(path("file"), new Uint8Array(4 * MIB).fill(7));
    fd = fs.openSync(path("file"), "r+");
    fs.fsyncSync(fd);
  });
  afterAll(() => fs.closeSync(fd));

  test("punchHole() makes the range zeros, frees its room and keeps the size", () => {
    const before = fs.fstatSync(fd).blocks;
    expect(punchHole(fd, { offset: MIB, length: 2 * MIB })).toBe(true);
    const { size, blocks } = fs.fstatSync(fd);
    expect(size).toBe(4 * MIB);
    expect(blocks).toBeLessThanOrEqual(before - 2 * MIB / 512);
    const content = fs.readFileSync(path("file"));
    expect(content.subarray(MIB, 3 * MIB).every((byte) => byte === 0)).toBe(true);
    expect(content.subarray(0, MIB).every((byte) => byte === 7)).toBe(true);
    expect(content.subarray(3 * MIB).every((byte) => byte === 7)).toBe(true);
  });

  test("punchHole() behind the end makes the file no longer", () => {
    expect(punchHole(fd, { offset: 8 * MIB, length: MIB })).toBe(true);
    expect(fs.fstatSync(fd).size).toBe(4 * MIB);
  });

  test("dropPages() leaves the content as it is", () => {
    expect(dropPages(fd)).toBe(true);
    expect(fs.readFileSync(path("file"))[4 * MIB - 1]).toBe(7);
  });

  test("are false where the descriptor can do neither", () => {
    const pipe = fs.openSync("/dev/null", "r");
    expect(punchHole(pipe, { offset: 0, length: 1 })).toBe(false);
    fs.closeSync(pipe);
    expect([punchHole(-1, { offset: 0, length: 1 }), dropPages(-1)]).toEqual([false, false]);
  });
});
