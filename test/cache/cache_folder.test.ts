/** Where a host's memory lies, and that a file of it appears whole or not at all. */
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  chunkCacheFolder,
  fileRecordsFolder,
  hashCachePath,
  replaceFile,
} from "../../src/cache/cache_folder.ts";
import { scratchFolder } from "./scratch.ts";

const folder = scratchFolder();

test("hashCachePath() lets every volume have its file when one's name begins with another's", async () => {
  const place = { root: folder, repositoryId: "r", project: "p" };
  const volumes = ["a", "a/b", "a.hashes", "a.hashes/b", "b/a", "a/b/c"];
  for (const volume of volumes) {
    await replaceFile(hashCachePath(place, volume), async (temporary) => writeFileSync(temporary, volume));
  }
  expect(volumes.map((volume) => readFileSync(hashCachePath(place, volume), "utf8"))).toEqual(volumes);
});

test("hashCachePath() and chunkCacheFolder() keep projects and repositories apart", () => {
  const place = { root: "/c", repositoryId: "r", project: "p" };
  for (const other of [{ ...place, project: "q" }, { ...place, repositoryId: "s" }]) {
    expect(hashCachePath(other, "a")).not.toBe(hashCachePath(place, "a"));
    expect(chunkCacheFolder(other)).not.toBe(chunkCacheFolder(place));
  }
  expect(fileRecordsFolder("/c")).toBe("/c/files");
});

test("replaceFile() gives the file its name at the end, readable by its owner only when it makes the folder", async () => {
  const path = join(folder, "new", "file");
  await replaceFile(path, async (temporary) => {
    writeFileSync(temporary, "one");
    expect(readdirSync(join(folder, "new"))).toEqual([temporary.slice(join(folder, "new").length + 1)]);
  });
  expect(readFileSync(path, "utf8")).toBe("one");
  expect(statSync(join(folder, "new")).mode & 0o777).toBe(0o700);
});

test("replaceFile() leaves what was there, and nothing else, when writing fails", async () => {
  mkdirSync(join(folder, "old"));
  const path = join(folder, "old", "file");
  writeFileSync(path, "before");
  const failing = replaceFile(path, async (temporary) => {
    writeFileSync(temporary, "half");
    throw new Error("disk full");
  });
  expect(failing).rejects.toThrow("disk full");
  await failing.catch(() => {});
  expect(readdirSync(join(folder, "old"))).toEqual(["file"]);
  expect(readFileSync(path, "utf8")).toBe("before");
});
