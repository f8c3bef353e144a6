/** The files of the cache and the state: whole or not at all, one's own, and never by way of a link. */
import { expect, test } from "bun:test";
import {
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ForeignEntryError } from "../../src/os/folder.ts";
import {
  listOwn,
  openOrMakeOwn,
  type OwnFile,
  readOwn,
  removeOwnFolder,
  replaceOwn,
} from "../../src/os/own_files.ts";
import { scratchFolder } from "../kit/scratch.ts";

const folder = scratchFolder();

test("replaceOwn() gives the file its name at the end, readable by its owner only when it makes the folder", async () => {
  const path = join(folder, "new", "file");
  await replaceOwn({ root: folder, path: "new/file" }, async (file) => {
    await file.write(Buffer.from("one"), 0);
    expect(readdirSync(join(folder, "new"))).toEqual([expect.stringMatching(/^file\..{36}$/)]);
  });
  expect(readFileSync(path, "utf8")).toBe("one");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, "new")).mode & 0o777).toBe(0o700);
});

test("replaceOwn() leaves what was there, and nothing else, when writing fails", async () => {
  mkdirSync(join(folder, "old"));
  const path = join(folder, "old", "file");
  writeFileSync(path, "before");
  const failing = replaceOwn({ root: folder, path: "old/file" }, async (file) => {
    await file.write(Buffer.from("half"), 0);
    throw new Error("disk full");
  });
  expect(failing).rejects.toThrow("disk full");
  await failing.catch(() => {});
  expect(readdirSync(join(folder, "old"))).toEqual(["file"]);
  expect(readFileSync(path, "utf8")).toBe("before");
});

test("readOwn() and openOrMakeOwn() give only regular files of this user, by way of no link", async () => {
  const root = join(folder, "own");
  mkdirSync(join(root, "sub"), { recursive: true });
  writeFileSync(join(root, "sub/file"), "mine");
  const read = async (path: string) => {
    const bytes = await readOwn({ root, path });
    return bytes && Buffer.from(bytes).toString();
  };
  expect(await read("sub/file")).toBe("mine");
  symlinkSync("sub", join(root, "folder"));
  symlinkSync("sub/file", join(root, "link"));
  linkSync(join(root, "sub/file"), join(root, "second"));
  Bun.spawnSync(["mkfifo", join(root, "pipe")]);
  expect(await read("none")).toBeUndefined();
  for (const path of ["folder/file", "link", "second", "pipe", "sub"]) {
    expect(read(path)).rejects.toThrow(ForeignEntryError);
    expect(await openOrMakeOwn({ root, path })).toBeUndefined();
  }
  symlinkSync(folder, `${root}-link`);
  expect(await readOwn({ root: `${root}-link`, path: "own/none" })).toBeUndefined();
  writeFileSync(join(root, "theirs"), "theirs");
  if (process.geteuid?.() !== 0) return;
  chownSync(join(root, "theirs"), 65534, 65534);
  expect(read("theirs")).rejects.toThrow('"theirs" is not used: it belongs to another user (uid 65534)');
  mkdirSync(join(root, "foreign"));
  chownSync(join(root, "foreign"), 65534, 65534);
  expect(read("foreign/file")).rejects.toThrow(
    '"foreign" is not used: it belongs to another user (uid 65534)',
  );
});

test("replaceOwn() and openOrMakeOwn() write nothing behind a link", async () => {
  const [root, victim] = [join(folder, "planted"), join(folder, "victim")];
  for (const path of [root, victim]) mkdirSync(path);
  writeFileSync(join(victim, "file"), "theirs");
  symlinkSync(victim, join(root, "folder"));
  symlinkSync(join(victim, "file"), join(root, "link"));
  const write = (file: OwnFile) => file.write(Buffer.from("ours"), 0);
  expect(replaceOwn({ root, path: "folder/file" }, write)).rejects.toThrow('"folder" is a link');
  expect(await openOrMakeOwn({ root, path: "folder/new" })).toBeUndefined();
  expect(await openOrMakeOwn({ root, path: "link" })).toBeUndefined();
  expect(readOwn({ root, path: "folder/file" })).rejects.toThrow("is a link");
  expect(listOwn({ root, path: "folder" })).rejects.toThrow("is a link");
  expect(removeOwnFolder({ root, path: "folder/file" })).rejects.toThrow("is a link");
  await removeOwnFolder({ root, path: "folder" });
  await replaceOwn({ root, path: "link" }, write);
  expect(readFileSync(join(root, "link"), "utf8")).toBe("ours");
  expect(readdirSync(victim)).toEqual(["file"]);
  expect(readFileSync(join(victim, "file"), "utf8")).toBe("theirs");
});
