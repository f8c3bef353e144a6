import { existsSync } from "node:fs";
import { afterEach, describe, expect, test } from "bun:test";
import {
  chown,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MissingError, StoreError, UnavailableError } from "../../../src/errors.ts";
import { DirectoryStore } from "../../../src/store/directory/directory.ts";
import { LEFTOVER_AGE_MS } from "../../../src/store/directory/leftovers.ts";
import { describeWith } from "../../kit/parts.ts";
import { rejection } from "../../kit/rejection.ts";
import { bytes, describeContract, keysOf } from "../../kit/store_contract.ts";

const NOT_FOLLOWED = "which varve does not follow; replace it with its target, or remove it";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "varve-directory-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs a command to its end; throws what it says when it fails. */
function run(...command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stdout: "pipe", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  return stdout.toString();
}

async function mountTmpfs(sizeBytes: number): Promise<string> {
  const folder = await makeFolder();
  run("mount", "-t", "tmpfs", "-o", `size=${sizeBytes}`, "varve-test", folder);
  cleanups.push(() => Bun.spawnSync(["umount", folder]));
  return folder;
}

describeContract("DirectoryStore", async () => {
  const folder = await mkdtemp(join(tmpdir(), "varve-directory-"));
  return {
    store: new DirectoryStore(join(folder, "made/by/put")),
    stop: () => rm(folder, { recursive: true }),
  };
});

describe("DirectoryStore", () => {
  test("list() and folders() leave out what has no key when other things lie in the directory", async () => {
    const root = await makeFolder();
    const store = new DirectoryStore(root);
    await store.put("a/b", bytes("x"));
    await writeFile(join(root, "tmp", "unfinished"), "x");
    await writeFile(join(root, "a", "n\u00e4me"), "x");
    await mkdir(join(root, "empty/empty"), { recursive: true });
    expect(await keysOf(store, "")).toEqual(["a/b"]);
    expect(await Array.fromAsync(store.folders(""))).toEqual(["a"]);
  });
  test("list() and folders() follow no link, and tell it", async () => {
    const [root, elsewhere] = [await makeFolder(), await makeFolder()];
    const warnings: string[] = [];
    const store = new DirectoryStore(root, { onWarning: (line) => warnings.push(line) });
    await store.put("a/b/c", bytes("x"));
    await store.put("a/d", bytes("x"));
    await rename(join(root, "a/b"), join(elsewhere, "b"));
    await symlink(join(elsewhere, "b"), join(root, "a/b"));
    expect(await keysOf(store, "")).toEqual(["a/b", "a/d"]);
    expect(await Array.fromAsync(store.folders("a/"))).toEqual([]);
    expect(await rejection(keysOf(store, "a/b/"))).toMatchObject({
      message: `Cannot list "${root}/a/b/": "b" is a link, ${NOT_FOLLOWED}`,
      retryable: false,
    });
    expect(warnings).toEqual([
      `"${root}/a/b" is a link, which varve does not follow; it is skipped`,
    ]);
  });
  test("nothing outside is read, written or removed through a link in a folder's place", async () => {
    const [root, victim] = [await makeFolder(), await makeFolder()];
    await writeFile(join(victim, "file"), "theirs");
    await mkdir(join(victim, "empty"));
    const store = new DirectoryStore(root);
    await store.put("a/b", bytes("x"));
    await symlink(victim, join(root, "link"));
    const failures = [
      store.get("link/file"),
      store.head("link/file"),
      store.put("link/file", bytes("ours")),
      store.put("link/new/file", bytes("ours")),
    ].map(rejection);
    for (const error of await Promise.all(failures)) {
      expect((error as Error).message).toEndWith(`: "link" is a link, ${NOT_FOLLOWED}`);
    }
    const reason = `"link" is a link, ${NOT_FOLLOWED}`;
    expect(await store.delete(["link/file", "link/empty/none"])).toEqual([
      { key: "link/file", refused: false, reason },
      { key: "link/empty/none", refused: false, reason },
    ]);
    expect((await readdir(victim)).toSorted()).toEqual(["empty", "file"]);
    expect(await Bun.file(join(victim, "file")).text()).toBe("theirs");
    expect(await store.delete(["link"])).toEqual([]);
    expect((await readdir(root)).toSorted()).toEqual(["a", "tmp"]);
    expect((await readdir(victim)).toSorted()).toEqual(["empty", "file"]);
  });
  test("put() replaces a link or pipe in the place of the object, and not what it leads to", async () => {
    const [root, victim] = [await makeFolder(), await makeFolder()];
    await writeFile(join(victim, "file"), "theirs");
    await symlink(join(victim, "file"), join(root, "link"));
    run("mkfifo", join(root, "pipe"));
    const store = new DirectoryStore(root);
    for (const key of ["link", "pipe"]) {
      await store.put(key, bytes("ours"));
      expect(await store.get(key)).toEqual(bytes("ours"));
    }
    expect(await Bun.file(join(victim, "file")).text()).toBe("theirs");
  });
  test("put() refuses a key when it leads into the folder of unfinished writes", async () => {
    const store = new DirectoryStore(await makeFolder());
    expect(await rejection(store.put("tmp/a", bytes("x")))).toBeInstanceOf(StoreError);
    expect(await rejection(store.put("tmp", bytes("x")))).toBeInstanceOf(StoreError);
  });
  test("put() makes folders and files that only their owner can read, whatever the umask", async () => {
    const folder = await makeFolder();
    const before = process.umask(0);
    try {
      await new DirectoryStore(join(folder, "made", "by")).put("a/b/c", bytes("x"));
    } finally {
      process.umask(before);
    }
    const entries = await readdir(folder, { recursive: true });
    expect(entries.toSorted()).toEqual([
      "made",
      "made/by",
      "made/by/a",
      "made/by/a/b",
      "made/by/a/b/c",
      "made/by/tmp",
    ]);
    for (const name of entries) {
      const found = await stat(join(folder, name));
      expect([name, found.mode & 0o777]).toEqual([name, found.isFile() ? 0o600 : 0o700]);
    }
  });
  test("put() leaves no temporary file when it succeeds or fails", async () => {
    const root = await makeFolder();
    const store = new DirectoryStore(root);
    await store.put("a", bytes("x"));
    const error = await rejection(store.put("a/b", bytes("x")));
    expect(error).toBeInstanceOf(StoreError);
    expect((error as Error).message).toBe(`Cannot write "${root}/a/b": not a directory (ENOTDIR)`);
    expect(await readdir(join(root, "tmp"))).toEqual([]);
  });
  test("put() removes only old temporary files of its own when it is the store's first", async () => {
    const root = await makeFolder();
    await mkdir(join(root, "tmp"));
    const nowMs = (await stat(join(root, "tmp"))).mtimeMs;
    const [old, young, others] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
    const isRoot = process.geteuid?.() === 0;
    const ages = [
      [old, 60_000],
      [young, -60_000],
      ["notes.txt", 60_000],
      ...(isRoot ? [[others, 60_000]] : []),
    ];
    for (const [name, beyondMs] of ages as [string, number][]) {
      const time = (nowMs - LEFTOVER_AGE_MS - beyondMs) / 1000;
      await writeFile(join(root, "tmp", name), "x");
      await utimes(join(root, "tmp", name), time, time);
      if (name === others) await chown(join(root, "tmp", name), 65534, 65534);
    }
    await new DirectoryStore(root).put("a", bytes("x"));
    const left = [young, "notes.txt", ...(isRoot ? [others] : [])];
    expect((await readdir(join(root, "tmp"))).toSorted()).toEqual(left.toSorted());
  });
  test("delete() removes the folders that it empties, and no others", async () => {
    const root = await makeFolder();
    const store = new DirectoryStore(root);
    for (const key of ["a/b/c/1", "a/b/c/2", "a/d/1"]) await store.put(key, bytes("x"));
    await store.delete(["a/b/c/1"]);
    expect(await readdir(join(root, "a/b"))).toEqual(["c"]);
    await store.delete(["a/b/c/2"]);
    expect(await readdir(join(root, "a"))).toEqual(["d"]);
    await store.delete(["a/d/1"]);
    expect(await readdir(root)).toEqual(["tmp"]);
  });
  test("list() and folders() are not kept from the rest by anything that strayed in", async () => {
    const root = await makeFolder();
    const store = new DirectoryStore(root);
    await store.put("a/b", bytes("x"));
    await symlink("loop", join(root, "loop"));
    await symlink("loop", join(root, "a", "loop"));
    await symlink("/nowhere", join(root, "dangling"));
    run("mkfifo", join(root, "fifo"));
    if (process.getuid?.() === 0) run("mknod", join(root, "device"), "b", "7", "200");
    await Bun.write(join(root, "Desktop.ini"), "x");
    await mkdir(join(root, "a", "b c"));
    const isRoot = process.getuid?.() === 0;
    expect(await keysOf(store, "")).toEqual([
      ...["Desktop.ini", "a/b", "a/loop", "dangling"],
      ...(isRoot ? ["device"] : []),
      ...["fifo", "loop"],
    ]);
    expect(await Array.fromAsync(store.folders(""))).toEqual(["a"]);
  });
  test("get() refuses what is no file without opening it, and delete() removes it", async () => {
    const root = await makeFolder();
    run("mkfifo", join(root, "fifo"));
    await symlink("fifo", join(root, "link"));
    Bun.listen({ unix: join(root, "socket"), socket: { data() {} } }).unref();
    if (process.getuid?.() === 0) run("mknod", join(root, "device"), "c", "1", "5");
    const store = new DirectoryStore(root);
    const kinds = { fifo: "named pipe", link: "link", socket: "socket", device: "device" };
    for (const [key, kind] of Object.entries(kinds)) {
      if (!existsSync(join(root, key))) continue;
      const error = await rejection(store.get(key));
      expect(error).toBeInstanceOf(UnavailableError);
      expect((error as Error).message).toBe(
        `Cannot read "${root}/${key}": "${key}" is a ${kind}, ${
          key === "link" ? NOT_FOLLOWED : "which varve never creates; remove it"
        }`,
      );
      expect(await store.head(key)).toMatchObject({ key, sizeBytes: 0 });
    }
    expect(await store.delete(Object.keys(kinds))).toEqual([]);
    expect(await readdir(root)).toEqual([]);
  });
  test("list() goes no deeper than keys are long", async () => {
    const root = await makeFolder();
    const store = new DirectoryStore(root);
    await store.put("a/b", bytes("x"));
    const deep = join(root, "a/".repeat(600));
    run("mkdir", "-p", deep);
    cleanups.push(() => run("rm", "-r", root));
    await writeFile(join(deep, "x"), "x");
    expect(await keysOf(store, "")).toEqual(["a/b"]);
  });
  test("get() throws UnavailableError, and takes no memory, when the file is larger than any object", async () => {
    const root = await makeFolder();
    await Bun.write(join(root, "huge"), "");
    await truncate(join(root, "huge"), 2 ** 40);
    const store = new DirectoryStore(root);
    const error = await rejection(store.get("huge"));
    expect(error).toBeInstanceOf(UnavailableError);
    expect((error as Error).message).toBe(
      `Cannot read "${root}/huge": its 1099511627776 bytes are more than any object has`,
    );
    expect((await store.get("huge", { range: { offset: 2 ** 39, length: 5 } })).length).toBe(5);
  });
  test("put() writes and removes nothing where the folder of unfinished writes is a link", async () => {
    const [root, victim] = [await makeFolder(), await makeFolder()];
    const name = crypto.randomUUID();
    await writeFile(join(victim, name), "x");
    await utimes(join(victim, name), 1, 1);
    await symlink(victim, join(root, "tmp"));
    expect((await rejection(new DirectoryStore(root).put("a", bytes("x"))) as Error).message).toBe(
      `Cannot write "${root}/a": "tmp" is a link, ${NOT_FOLLOWED}`,
    );
    expect(await readdir(victim)).toEqual([name]);
  });
  test("put() is not kept from its work by an old folder among the unfinished writes", async () => {
    const root = await makeFolder();
    await mkdir(join(root, "tmp", "folder"), { recursive: true });
    await utimes(join(root, "tmp", "folder"), 1, 1);
    await new DirectoryStore(root).put("a", bytes("x"));
    expect(await readdir(join(root, "tmp"))).toEqual(["folder"]);
  });
  test("every method throws StoreError when another directory took the place of the store's", async () => {
    const root = join(await makeFolder(), "root");
    const store = new DirectoryStore(root);
    await store.put("a/b", bytes("x"));
    await rename(root, `${root}-aside`);
    await mkdir(root);
    const state = `Cannot use "${root}": the directory was unmounted or replaced`;
    const failures = [store.get("a/b"), store.head("a/b"), store.put("a/c", bytes("x")), keysOf(store, "a/")];
    for (const error of await Promise.all(failures.map(rejection))) {
      expect((error as Error).message).toBe(state);
    }
    expect(await readdir(root)).toEqual([]);
  });
});

describeWith(["root"], "DirectoryStore as root", () => {
  test("put() leaves what was there, and nothing else, when the device is full", async () => {
    const root = await mountTmpfs(1024 * 1024);
    const store = new DirectoryStore(root);
    await store.put("a/b", bytes("before"));
    for (const key of ["a/b", "a/c"]) {
      const error = await rejection(store.put(key, new Uint8Array(2 * 1024 * 1024)));
      expect(error).toMatchObject({ retryable: false, isFull: true, cause: { code: "ENOSPC" } });
      expect((error as Error).message).toBe(
        `Cannot write "${root}/${key}": no space left on the device (ENOSPC)`,
      );
    }
    expect(await readdir(join(root, "tmp"))).toEqual([]);
    expect(await keysOf(store, "")).toEqual(["a/b"]);
    expect(await store.get("a/b")).toEqual(bytes("before"));
  });
  test("get() throws StoreError, and put() writes nothing, when the file system was unmounted", async () => {
    const root = await mountTmpfs(1024 * 1024);
    const store = new DirectoryStore(root);
    await store.put("a/b", bytes("x"));
    run("umount", root);
    expect(await rejection(store.get("a/b"))).not.toBeInstanceOf(MissingError);
    expect(await rejection(store.put("a/b", bytes("x")))).toBeInstanceOf(StoreError);
    expect(await readdir(root)).toEqual([]);
  });
  test("delete() tells the keys as refused when the file system is read-only", async () => {
    const root = await mountTmpfs(1024 * 1024);
    const store = new DirectoryStore(root);
    await store.put("a/b", bytes("x"));
    run("mount", "-o", "remount,ro", root);
    const reason = "the file system is read-only (EROFS)";
    expect(await store.delete(["a/b", "a/none"])).toEqual([{ key: "a/b", refused: true, reason }]);
    expect(await rejection(store.put("a/b", bytes("y")))).toMatchObject({ retryable: false });
    expect(await store.get("a/b")).toEqual(bytes("x"));
  });
});
