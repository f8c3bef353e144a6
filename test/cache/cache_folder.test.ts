/** Where a host's memory lies. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { chunkCacheFolder, fileRecordsFolder, pageCachePath } from "../../src/cache/cache_folder.ts";
import { pathOf } from "../../src/os/own_path.ts";
import { replaceOwn } from "../../src/os/own_files.ts";
import { scratchFolder } from "../kit/scratch.ts";

const folder = scratchFolder();

test("pageCachePath() lets every volume have its file when one's name begins with another's", async () => {
  const place = { root: folder, repositoryId: "r", project: "p" };
  const volumes = ["a", "a/b", "a.hashes", "a.hashes/b", "b/a", "a/b/c"];
  for (const volume of volumes) {
    await replaceOwn(pageCachePath(place, volume), (file) => file.write(Buffer.from(volume), 0));
  }
  expect(volumes.map((volume) => readFileSync(pathOf(pageCachePath(place, volume)), "utf8"))).toEqual(
    volumes,
  );
});

test("pageCachePath() and chunkCacheFolder() keep projects and repositories apart", () => {
  const place = { root: "/c", repositoryId: "r", project: "p" };
  for (const other of [{ ...place, project: "q" }, { ...place, repositoryId: "s" }]) {
    expect(pathOf(pageCachePath(other, "a"))).not.toBe(pathOf(pageCachePath(place, "a")));
    expect(pathOf(chunkCacheFolder(other))).not.toBe(pathOf(chunkCacheFolder(place)));
  }
  expect(pathOf(fileRecordsFolder("/c"))).toBe("/c/files");
});
