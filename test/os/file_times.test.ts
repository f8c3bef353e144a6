/** Where a file's times tell every write to it, and where nobody can say so. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { settleTimes } from "../../src/os/file_times.ts";
import { mountTmpfs, unmount } from "../kit/mounts.ts";
import { describeWith } from "../kit/parts.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();
/** statfs(2): ext2 to ext4, XFS, btrfs. */
const TELLING = [0xef53, 0x58465342, 0x9123683e];

test("settleTimes() says of a file what its file system can do", async () => {
  fs.writeFileSync(path("file"), "x");
  const { type } = fs.statfsSync(path("file"));
  expect(await settleTimes(path("file"))).toBe(TELLING.includes(type));
});

test("settleTimes() is false where there is no file, or nothing that can be synced", async () => {
  expect(await settleTimes(path("none"))).toBe(false);
  expect(await settleTimes("/proc/self/status")).toBe(false);
});

describeWith(["root"], "settleTimes() on tmpfs", () => {
  test("is false", async () => {
    mountTmpfs(path("mounted"), ["size=1048576"]);
    try {
      fs.writeFileSync(path("mounted/file"), "x");
      expect(await settleTimes(path("mounted/file"))).toBe(false);
    } finally {
      unmount(path("mounted"));
    }
  });
});
