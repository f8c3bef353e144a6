/** The directory store's system calls: in which order they come, and what follows when one of them fails. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describeWith } from "../../kit/parts.ts";
import { underStrace } from "../../kit/strace.ts";

const MODULE = join(import.meta.dirname, "../../../src/store/directory/directory.ts");

describeWith(["strace"], "DirectoryStore under strace", () => {
  let folder: string;
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "varve-strace-"))));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("put() syncs the file before the rename, and every new folder after it", async () => {
    const root = join(folder, "order");
    const log = `${root}.log`;
    const program = `await store.put("a/b/1", body); await store.put("a/b/2", body);`;
    await trace({ root, program, strace: ["-y", "-o", log, "-e", "trace=fsync,rename,renameat,renameat2"] });
    const calls = await callsIn(log, folder);
    const [first, second] = calls.flatMap((call, index) => call === "rename" ? [index] : []);
    const synced = (from: number | undefined, to?: number) =>
      calls.slice(from, to).filter((call) => call.startsWith("fsync")).map((call) => call.slice(6));
    expect(synced(0, first)).toEqual([root, folder, expect.stringContaining(`${root}/tmp/`)]);
    expect(synced(first, second).slice(0, 3)).toEqual([`${root}/a/b`, `${root}/a`, root]);
    // The second object's folders are known to be durable, its own name is not.
    expect(synced(second)).toEqual([`${root}/a/b`]);
  });
  test("put() makes its folder again when another process deletes it before the rename", async () => {
    const root = join(folder, "raced");
    // The first rename of each thread fails.
    const strace = [
      "-e",
      "trace=rename,renameat,renameat2",
      "-e",
      "inject=rename,renameat,renameat2:error=ENOENT:when=1",
    ];
    expect(await trace({ root, program: `await store.put("a/b", body)`, strace })).toBe("");
    expect(await readdir(join(root, "a"))).toEqual(["b"]);
  });
  test.each(["EPERM", "EOPNOTSUPP"])(
    "put() writes an absent object where the file system has no hard links (%s)",
    async (code) => {
      const root = join(folder, `no-links-${code}`);
      const calls = "link,linkat";
      const strace = ["-e", `trace=${calls}`, "-e", `inject=${calls}:error=${code}`];
      expect(await trace({ root, program: `await store.put("a/b", body, { ifAbsent: true })`, strace })).toBe(
        "",
      );
      expect(await readdir(join(root, "a"))).toEqual(["b"]);
      expect(await readdir(join(root, "tmp"))).toEqual([]);
    },
  );
  test("put() leaves nothing behind when the file cannot be synced", async () => {
    const root = join(folder, "broken");
    await trace({ root, program: `await store.put("first", body)`, strace: ["-e", "trace=none"] });
    const strace = ["-e", "trace=fsync", "-e", "inject=fsync:error=EIO"];
    const message = await trace({ root, program: `await store.put("a/b", body)`, strace });
    expect(message).toBe(`StoreError: Cannot write "${root}/a/b": input/output error (EIO)`);
    expect((await readdir(root)).toSorted()).toEqual(["first", "tmp"]);
    expect(await readdir(join(root, "tmp"))).toEqual([]);
  });
  /** Runs `program` on a store that holds "a/b", where a call on `path` below it fails as `inject` says. */
  const withFailing = async (
    { name, path = "a/b", inject, program }: { name: string; path?: string; inject: string; program: string },
  ): Promise<{ root: string; message: string }> => {
    const root = join(folder, name);
    await trace({ root, program: `await store.put("a/b", body)`, strace: ["-e", "trace=none"] });
    const [calls] = inject.split(":");
    const strace = [...on(join(root, path)), "-e", `trace=${calls}`, "-e", `inject=${inject}`];
    return { root, message: await trace({ root, program, strace }) };
  };

  test.each(["EINVAL", "EOPNOTSUPP", "EBADF", "EACCES", "EISDIR", "ENOSYS"])(
    "put() and delete() work, and it is said, when folders cannot be synced (%s)",
    async (code) => {
      const root = join(folder, `nosync-${code}`);
      const folders = [folder, root, join(root, "a"), join(root, "a/b")].flatMap((path) => ["-P", path]);
      const strace = [...folders, "-e", "trace=fsync", "-e", `inject=fsync:error=${code}`];
      const program =
        `await store.put("a/b/c", body); await store.put("a/d", body); await store.delete(["a/d"]);
        process.stdout.write(String(store.caveat))`;
      const message = await trace({ root, program, strace });
      expect(message).toStartWith(`the file system of "${root}" does not sync directory entries`);
      expect(await readdir(join(root, "a/b"))).toEqual(["c"]);
    },
  );
  test("put() fails when syncing a folder fails", async () => {
    const inject = "fsync:error=EIO";
    const { root, message } = await withFailing({
      ...{ name: "folder-eio", path: "a", inject, program: `await store.put("a/b", body)` },
    });
    expect(message).toBe(`StoreError: Cannot write "${root}/a/b": input/output error (EIO)`);
  });
  test.each([
    ["ENOENT", "openat,open:error=ENOENT", "StoreError", "its directory lists it, but it cannot be found"],
    ["an early end", "read,pread64,preadv:retval=0", "UnavailableError", "input/output error (EIO)"],
    ["ESTALE", "openat,open:error=ESTALE", "StoreError", "stale file handle (ESTALE)"],
  ])(
    "get() does not take it for missing, nor for short, when each look gives %s",
    async (name, inject, kind, state) => {
      const stats = name === "ENOENT" ? ",statx,stat,newfstatat" : "";
      const { root, message } = await withFailing({
        ...{ name: `each ${name}`, inject: inject.replace("open:", `open${stats}:`) },
        program: `await store.get("a/b")`,
      });
      expect(message).toBe(`${kind}: Cannot read "${root}/a/b": ${state}`);
    },
  );
  test.each(["EIO", "ESTALE", "ENOTCONN"])(
    "get() takes the store for away, not the object for damaged, when its root answers %s",
    async (code) => {
      const { root, message } = await withFailing({
        ...{ name: `root-${code}`, path: "", inject: `statx,stat,newfstatat:error=${code}` },
        program: `await store.get("a/b").catch((error) => {
          throw new Error(error.name + " " + error.retryable + " " + error.message);
        })`,
      });
      expect(message).toMatch(new RegExp(`^Error: StoreError true Cannot open "${root}": .* \\(${code}\\)$`));
    },
  );
  test("list() fails, and leaves nothing out, when a folder or a file cannot be looked at", async () => {
    for (const [path, calls] of [["a", "openat,open"], ["a/b", "statx,stat,newfstatat,lstat"]] as const) {
      const { root, message } = await withFailing({
        ...{ name: `list ${path.length}`, path, inject: `${calls}:error=EIO` },
        program: `await Array.fromAsync(store.list("a/"))`,
      });
      expect(message).toBe(`StoreError: Cannot list "${root}/a/": input/output error (EIO)`);
    }
  });
  test.each([["EIO", "input/output error"], ["EACCES", "permission denied"]])(
    "get() throws UnavailableError when opening the file fails with %s",
    async (code, state) => {
      const root = join(folder, code);
      await trace({ root, program: `await store.put("a", body)`, strace: ["-e", "trace=none"] });
      const strace = [
        ...on(join(root, "a")),
        ...["-e", "trace=openat,open", "-e", `inject=openat,open:error=${code}`],
      ];
      const message = await trace({ root, program: `await store.get("a")`, strace });
      expect(message).toBe(`UnavailableError: Cannot read "${root}/a": ${state} (${code})`);
    },
  );
});

/** Calls on `path`, by that name or by that of the folder's descriptor, whichever that is. */
function on(path: string): string[] {
  const folders = Array.from({ length: 64 }, (_, fd) => `/proc/self/fd/${fd}`);
  return [path, ...folders.map((folder) => join(folder, basename(path)))].flatMap((path) => ["-P", path]);
}

/** Runs `program`, which has `store` in `root` and a `body`, under strace; resolves to the error that it ended with. */
async function trace(
  { root, program, strace }: { root: string; program: string; strace: string[] },
): Promise<string> {
  const source = `const { DirectoryStore } = await import(${JSON.stringify(MODULE)});
    const store = new DirectoryStore(${JSON.stringify(root)});
    const body = new Uint8Array(9);
    try { ${program} } catch (error) { process.stdout.write(error.name + ": " + error.message); }`;
  const log = strace.includes("-o") ? [] : ["-o", "/dev/null"];
  return await underStrace([...log, ...strace], source);
}

/** The calls below `folder`, in order: `fsync PATH` and `rename`. A call that another thread's interrupts counts where it began. */
async function callsIn(log: string, folder: string): Promise<string[]> {
  const lines = (await Bun.file(log).text()).split("\n").filter((line) =>
    line.includes(folder) || line.includes("rename")
  );
  return lines.filter((line) => !line.includes("resumed>")).map((line) => {
    const [, path] = /fsync\(\d+<([^>]*)>/.exec(line) ?? [];
    return path === undefined ? "rename" : `fsync ${path}`;
  });
}
