/** The folder of all caches, and as it is that of the state: made or used only where nobody else can write to it, and never a home with it. */
import { expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openOwnRoot } from "../../src/os/own_root.ts";
import { scratchFolder } from "../kit/scratch.ts";

const folder = scratchFolder();
const isRoot = process.geteuid?.() === 0;

async function open(root: string) {
  const told: string[] = [];
  const opened = await openOwnRoot(root, {
    below: dirname(dirname(root)),
    ...{ name: "cache", variable: "XDG_CACHE_HOME" },
    onStrange: (line) => told.push(`strange: ${line}`),
    onMissing: (line) => told.push(`missing: ${line}`),
  });
  return { opened, told };
}

test("openOwnRoot() makes the folder for its owner only, whatever the umask", async () => {
  const root = join(folder, "cache", "varve");
  const before = process.umask(0);
  expect(await open(root)).toEqual({ opened: root, told: [] });
  process.umask(before);
  for (const path of [root, join(folder, "cache")]) expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(await open(root)).toEqual({ opened: root, told: [] });
});

test("openOwnRoot() makes no home, and tells that", async () => {
  const { opened, told } = await open(join(folder, "home", ".cache", "varve"));
  expect(opened).toBeUndefined();
  expect(told).toEqual([expect.stringMatching(/^missing: the cache in ".*" is not used: .*ENOENT/)]);
  expect(existsSync(join(folder, "home"))).toBe(false);
  writeFileSync(join(folder, "file"), "");
  expect((await open(join(folder, "file", "varve"))).told).toEqual([expect.stringMatching(/^missing: /)]);
});

test.each([0o777, 0o1777, 0o770, 0o702])("openOwnRoot() refuses a folder of mode %o", async (mode) => {
  const root = join(folder, `mode-${mode}`);
  mkdirSync(root);
  chmodSync(root, mode);
  const octal = mode.toString(8).padStart(4, "0");
  expect(await open(root)).toEqual({
    opened: undefined,
    told: [
      `strange: the cache folder "${root}" is not used: other users can write to it (mode ${octal}) and may have; ` +
      "remove it, or set XDG_CACHE_HOME to a directory of your own",
    ],
  });
});

test("openOwnRoot() takes a link of this user's own to a folder of this user's own", async () => {
  const [root, link] = [join(folder, "real"), join(folder, "link")];
  mkdirSync(root, { mode: 0o755 });
  symlinkSync(root, link);
  expect(await open(link)).toEqual({ opened: link, told: [] });
  chmodSync(root, 0o777);
  expect((await open(link)).opened).toBeUndefined();
});

test.skipIf(!isRoot)("openOwnRoot() refuses another user's folder, and a link to one", async () => {
  const [root, link] = [join(folder, "theirs"), join(folder, "to-theirs")];
  mkdirSync(root, { mode: 0o700 });
  chownSync(root, 65534, 65534);
  symlinkSync(root, link);
  for (const path of [root, link]) {
    expect(await open(path)).toEqual({
      opened: undefined,
      told: [
        `strange: the cache folder "${path}" is not used: it belongs to another user (uid 65534); ` +
        "change its owner, remove it, or set XDG_CACHE_HOME to a directory of your own",
      ],
    });
  }
});
