/** Folders by their descriptors: what is entered, made and opened, and that no link is, whenever it is put there. */
import { beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import { closeFd } from "../../src/os/fd.ts";
import { Folder, ForeignEntryError } from "../../src/os/folder.ts";
import { scratchFolder } from "../kit/scratch.ts";

const scratch = scratchFolder();

let turn = 0;
let root: string;
let victim: string;
beforeEach(() => {
  root = join(scratch, `root-${turn}`);
  victim = join(scratch, `victim-${turn++}`);
  fs.mkdirSync(join(root, "a/b"), { recursive: true });
  fs.writeFileSync(join(root, "a/b/file"), "ours");
  fs.mkdirSync(victim);
  fs.writeFileSync(join(victim, "file"), "theirs");
});

const error = async (promise: Promise<unknown>) => await promise.then(() => undefined, (error) => error);
const openFds = () => fs.readdirSync("/proc/self/fd").length;

async function read(folder: Folder, name: string): Promise<string | undefined> {
  const file = await folder.openFile(name);
  if (file === undefined) return undefined;
  try {
    return fs.readFileSync(file.fd, "utf8");
  } finally {
    await closeFd(file.fd);
  }
}

test("enter() and openFile() give what is there, and leave no descriptor open", async () => {
  const before = openFds();
  {
    using top = await Folder.open(root);
    using folder = await top.enter("a/b");
    expect(await read(folder, "file")).toBe("ours");
    using same = await folder.enter("");
    expect(await read(same, "file")).toBe("ours");
    expect(await top.openFile("a")).toBeUndefined();
    expect(await error(top.enter("a/none"))).toMatchObject({ code: "ENOENT" });
    expect(await error(top.enter("a/b/file"))).toMatchObject({ code: "ENOTDIR" });
    expect(await error(folder.openFile("none"))).toMatchObject({ code: "ENOENT" });
  }
  expect(openFds()).toBe(before);
});

test("make() makes what is not there, with the mode", async () => {
  using top = await Folder.open(root);
  using made = await top.make("a/c/d", 0o700);
  fs.writeFileSync(made.at("file"), "new");
  expect(fs.readFileSync(join(root, "a/c/d/file"), "utf8")).toBe("new");
  expect(fs.statSync(join(root, "a/c/d")).mode & 0o777).toBe(0o700);
  expect(await error(top.make("a/b/file/d", 0o700))).toMatchObject({ code: "ENOTDIR" });
});

test("a link is refused in a folder's and in a file's place, but not in that of the root", async () => {
  fs.symlinkSync(victim, join(root, "a/link"));
  fs.symlinkSync(join(victim, "file"), join(root, "a/b/link"));
  fs.symlinkSync(root, `${root}-link`);
  using top = await Folder.open(`${root}-link`);
  using folder = await top.enter("a/b");
  const text = '"link" is a link, which varve does not follow; replace it with its target, or remove it';
  for (
    const refused of [
      () => top.enter("a/link"),
      () => top.enter("a/link/below"),
      () => top.make("a/link/below", 0o700),
      () => folder.openFile("link"),
    ]
  ) {
    const thrown = await error(refused());
    expect(thrown).toBeInstanceOf(ForeignEntryError);
    expect(thrown.message).toBe(text);
  }
  expect(fs.readdirSync(victim)).toEqual(["file"]);
});

test("a folder that was moved away stays the same one", async () => {
  using top = await Folder.open(root);
  using folder = await top.enter("a/b");
  fs.renameSync(join(root, "a/b"), join(root, "moved"));
  fs.symlinkSync(victim, join(root, "a/b"));
  expect(await read(folder, "file")).toBe("ours");
  fs.writeFileSync(folder.at("new"), "");
  expect(fs.readdirSync(victim)).toEqual(["file"]);
  expect(fs.readdirSync(join(root, "moved")).toSorted()).toEqual(["file", "new"]);
});

/** Puts a link to the victim in the place of `a/b` and takes it away, as fast as it can, until it is killed. */
function startSwapping() {
  const program = `const fs = require("node:fs"); process.chdir(${JSON.stringify(join(root, "a"))});
    fs.symlinkSync(${JSON.stringify(victim)}, "link"); console.log("ready");
    for (;;) { fs.renameSync("b", "aside"); fs.renameSync("link", "b"); fs.renameSync("b", "link"); fs.renameSync("aside", "b"); }`;
  return Bun.spawn([process.execPath, "-e", program], { stdout: "pipe" });
}

test("nothing is read or written behind a link that is put there in the middle", async () => {
  const swapping = startSwapping();
  await swapping.stdout.getReader().read();
  using top = await Folder.open(root);
  let [entered, refused] = [0, 0];
  for (let round = 0; round < 100_000 && (entered < 50 || refused < 50); round++) {
    using folder = await top.enter("a/b").catch((thrown) => {
      if (thrown instanceof ForeignEntryError) refused++;
      else expect(["ENOENT", "ENOTDIR"]).toContain(thrown.code);
      return undefined;
    });
    if (folder === undefined) continue;
    expect(await read(folder, "file")).toBe("ours");
    fs.writeFileSync(folder.at("written"), `${round}`);
    entered++;
  }
  swapping.kill("SIGKILL");
  await swapping.exited;
  expect(Math.min(entered, refused)).toBeGreaterThanOrEqual(50);
  expect(fs.readdirSync(victim)).toEqual(["file"]);
  expect(fs.readFileSync(join(victim, "file"), "utf8")).toBe("theirs");
});
