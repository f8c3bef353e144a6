/** Folders are synced where that can be; test/e2e/folder_sync.test.ts has file systems that refuse it. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { systemCode } from "../../src/os/fd.ts";
import { syncFolder } from "../../src/os/sync_folder.ts";
import { rejection } from "../kit/rejection.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();

test("syncFolder() is true of a folder on a disk, and leaves no descriptor open", async () => {
  const before = fs.readdirSync("/proc/self/fd").length;
  expect(await syncFolder(path("."))).toBe(true);
  expect(fs.readdirSync("/proc/self/fd").length).toBe(before);
});

test("syncFolder() is false where the file system refuses", async () => {
  expect(await syncFolder("/proc/self")).toBe(false);
});

test("syncFolder() throws where there is no folder", async () => {
  fs.writeFileSync(path("file"), "x");
  expect(systemCode(await rejection(syncFolder(path("none"))))).toBe("ENOENT");
  expect(systemCode(await rejection(syncFolder(path("file"))))).toBe("ENOTDIR");
});
