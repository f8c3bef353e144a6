/** Where a host's memory lies, and that a file of it appears whole or not at all. */
import { expect, test } from "bun:test";
import {
  chownSync,
  constants,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import {
  chunkCacheFolder,
  fileRecordsFolder,
  hashCachePath,
  openOrMakeCached,
  pathOf,
  readCached,
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
  expect(volumes.map((volume) => readFileSync(pathOf(hashCachePath(place, volume)), "utf8"))).toEqual(
    volumes,
  );
});

test("hashCachePath() and chunkCacheFolder() keep projects and repositories apart", () => {
  const place = { root: "/c", repositoryId: "r", project: "p" };
  for (const other of [{ ...place, project: "q" }, { ...place, repositoryId: "s" }]) {
    expect(pathOf(hashCachePath(other, "a"))).not.toBe(pathOf(hashCachePath(place, "a")));
    expect(pathOf(chunkCacheFolder(other))).not.toBe(pathOf(chunkCacheFolder(place)));
  }
  expect(pathOf(fileRecordsFolder("/c"))).toBe("/c/files");
});

test("replaceFile() gives the file its name at the end, readable by its owner only when it makes the folder", async () => {
  const path = join(folder, "new", "file");
  await replaceFile({ root: folder, path: "new/file" }, async (temporary) => {
    writeFileSync(temporary, "one");
    expect(readdirSync(join(folder, "new"))).toEqual([basename(temporary)]);
  });
  expect(readFileSync(path, "utf8")).toBe("one");
  expect(statSync(join(folder, "new")).mode & 0o777).toBe(0o700);
});

test("replaceFile() leaves what was there, and nothing else, when writing fails", async () => {
  mkdirSync(join(folder, "old"));
  const path = join(folder, "old", "file");
  writeFileSync(path, "before");
  const failing = replaceFile({ root: folder, path: "old/file" }, async (temporary) => {
    writeFileSync(temporary, "half");
    throw new Error("disk full");
  });
  expect(failing).rejects.toThrow("disk full");
  await failing.catch(() => {});
  expect(readdirSync(join(folder, "old"))).toEqual(["file"]);
  expect(readFileSync(path, "utf8")).toBe("before");
});

test("readCached() gives only regular files of this user, by way of no link", async () => {
  const root = join(folder, "own");
  mkdirSync(join(root, "sub"), { recursive: true });
  writeFileSync(join(root, "sub/file"), "mine");
  const read = async (path: string) => {
    const bytes = await readCached({ root, path });
    return bytes && Buffer.from(bytes).toString();
  };
  expect(await read("sub/file")).toBe("mine");
  symlinkSync("sub", join(root, "folder"));
  symlinkSync("sub/file", join(root, "link"));
  linkSync(join(root, "sub/file"), join(root, "second"));
  Bun.spawnSync(["mkfifo", join(root, "pipe")]);
  for (const path of ["folder/file", "link", "second", "pipe", "none", "sub"]) {
    expect([path, await read(path)]).toEqual([path, undefined]);
  }
  symlinkSync(folder, `${root}-link`);
  expect(await readCached({ root: `${root}-link`, path: "own/none" })).toBeUndefined();
  writeFileSync(join(root, "theirs"), "theirs");
  if (process.geteuid?.() !== 0) return;
  chownSync(join(root, "theirs"), 65534, 65534);
  expect(await read("theirs")).toBeUndefined();
});

test("replaceFile() and openOrMakeCached() write nothing behind a link", async () => {
  const [root, victim] = [join(folder, "planted"), join(folder, "victim")];
  for (const path of [root, victim]) mkdirSync(path);
  writeFileSync(join(victim, "file"), "theirs");
  symlinkSync(victim, join(root, "folder"));
  symlinkSync(join(victim, "file"), join(root, "link"));
  const write = async (temporary: string) => writeFileSync(temporary, "ours");
  expect(replaceFile({ root, path: "folder/file" }, write)).rejects.toThrow('"folder" is a link');
  expect(openOrMakeCached({ root, path: "folder/new" }, constants.O_RDWR)).rejects.toThrow("is a link");
  expect(await openOrMakeCached({ root, path: "link" }, constants.O_RDWR)).toBeUndefined();
  await replaceFile({ root, path: "link" }, write);
  expect(readFileSync(join(root, "link"), "utf8")).toBe("ours");
  expect(readdirSync(victim)).toEqual(["file"]);
  expect(readFileSync(join(victim, "file"), "utf8")).toBe("theirs");
});
