/** The built program and a directory store that fills up, is read-only, and goes away under it. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { messages, withoutLog } from "../kit/log.ts";
import { mountTmpfs, remount, runAsRoot, unmount } from "../kit/mounts.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import type { VarveResult } from "../kit/varve.ts";
import { fullStream } from "../kit/rbd_stream.ts";

const MIB = 1024 * 1024;
const VOLUME = "acme/vm";
const CHUNKS = 64;
const BYTES = noise(CHUNKS * CHUNK_BYTES, "large");
const SMALL = noise(3 * CHUNK_BYTES, "small");

setDefaultTimeout(RUN_LIMIT_MS);

describeWith(["root"], "varve on a directory", () => {
  let repository: TestRepository;
  let mount: string;

  beforeEach(async () => {
    repository = await TestRepository.make({ mount: (path) => mountTmpfs(path, [`size=${7 * MIB}`]) });
    mount = repository.path("mount");
    await repository.backUp("acme/small", SMALL);
  });
  afterEach(async () => {
    unmount(mount);
    await repository.remove();
  });

  const chunkFiles = async () => {
    const names = await readdir(join(repository.url, "projects/acme/chunks"), { recursive: true });
    return names.filter((name) => name.includes("/")).length;
  };
  const backUp = () => repository.run(["backup", VOLUME, "--json"], { stdin: fullStream(BYTES) });

  test("backup exits with 1 and the next uploads only what is missing when the store fills up", async () => {
    const before = await chunkFiles();
    expectOneLine(await backUp(), {
      code: 1,
      line: /Cannot write ".*": no space left on the device \(ENOSPC\)/,
    });
    await repository.expectIntact();
    expect(await readdir(join(repository.url, "tmp"))).toEqual([]);
    expect(await readdir(join(repository.url, "projects/acme/leases")).catch(() => [])).toEqual([]);

    const stored = await chunkFiles() - before;
    expect(stored).toBeGreaterThan(0);
    remount(mount, [`size=${32 * MIB}`]);
    const { chunks } = await repository.backUp(VOLUME, BYTES);
    expect({ reused: chunks.reused, new: chunks.new }).toEqual({ reused: stored, new: CHUNKS - stored });
    await repository.expectIntact();
  });

  test("backup exits with 1, and restore works, when the store is read-only", async () => {
    remount(mount, ["ro"]);
    expectOneLine(await backUp(), {
      code: 1,
      line: /Cannot write ".*": the file system is read-only \(EROFS\)/,
    });
    await repository.expectIntact();
  });

  /** Starts a backup that waits for the rest of its stream, and resolves once it has stored a chunk. */
  const startSlowBackup = async () => {
    const child = repository.start(["backup", VOLUME, "--json"], { stdin: slowly.readable });
    const before = await chunkFiles();
    const stream = fullStream(BYTES);
    const writer = slowly.writable.getWriter();
    await writer.write(stream.subarray(0, stream.length / 4));
    while (await chunkFiles() === before) await Bun.sleep(10); // until it is so
    const finish = async () => {
      await writer.write(stream.subarray(stream.length / 4)).catch(() => {});
      await writer.close().catch(() => {});
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      return { code: await child.exited, stdout, stderr };
    };
    return finish;
  };
  let slowly: TransformStream<Uint8Array, Uint8Array>;
  beforeEach(() => {
    slowly = new TransformStream();
  });

  test("backup exits with 1 and leaves the mount point alone when the store is unmounted meanwhile", async () => {
    const finish = await startSlowBackup();
    unmount(mount);
    expectGone(await finish());
    expect(await readdir(mount)).toEqual([]);
  });

  test("backup exits with 1 and makes nothing anew when the store is moved away meanwhile", async () => {
    const finish = await startSlowBackup();
    renameSync(repository.url, `${repository.url}.moved`);
    expectGone(await finish());
    expect(await readdir(mount)).toEqual(["repository.moved"]);
    renameSync(`${repository.url}.moved`, repository.url);
    await repository.expectIntact();
  });
});

/** The lease went with the store. */
function expectGone(result: VarveResult): void {
  const state = "the directory was unmounted or replaced";
  expect(messages(result.stderr)).toEqual(["could not remove the lease; it is left to expire"]);
  const stderr = withoutLog(result.stderr);
  expectOneLine({ ...result, stderr }, { code: 1, line: new RegExp(`Cannot use ".*": ${state}\n$`) });
}

test("every command exits with 10 when there is no repository", async () => {
  const repository = await TestRepository.make();
  const env = { VARVE_REPO: repository.path("elsewhere") };
  const commands = [
    ["backup", VOLUME],
    ["restore", VOLUME, "--to", repository.path("restored.img")],
    ["list"],
    ["show", VOLUME],
  ];
  for (const args of commands) {
    const result = await repository.run(args, { env, stdin: fullStream(SMALL) });
    expectOneLine(result, { code: 10, line: /Cannot open .*elsewhere"/ });
  }
  expect((await readdir(repository.folder)).sort()).toEqual(["cache", "repository", "state"]);
  await repository.remove();
});

test("nothing waits for a named pipe in the place of an object, and strays are in nobody's way", async () => {
  const repository = await TestRepository.make();
  await repository.backUp(VOLUME, SMALL);
  const folders = ["", "projects", "projects/acme", "projects/acme/chunks", "projects/acme/volumes/vm"];
  for (const folder of folders) {
    const here = join(repository.url, folder);
    runAsRoot(["mkfifo", join(here, "pipe")]);
    mkdirSync(join(here, "lost+found"));
  }
  await repository.expectIntact();
  for (const args of [["verify"], ["gc"], ["stats"], ["list"]]) {
    expect(await repository.run(args)).toMatchObject({ code: 0, stderr: "" });
  }
  rmSync(join(repository.url, "varve.json"));
  runAsRoot(["mkfifo", join(repository.url, "varve.json")]);
  expectOneLine(await repository.run(["list"]), {
    code: 1,
    line: /Cannot read .*: "varve\.json" is a named pipe, which varve never creates; remove it\n/,
  });
  await repository.remove();
});

describe("a link in a directory repository", () => {
  /** A repository and a folder outside of it, with a file that anything that followed a link there would take for a leftover. */
  const make = async () => {
    const repository = await TestRepository.make();
    const { backup } = await repository.backUp(VOLUME, SMALL);
    const victim = repository.path("victim");
    mkdirSync(join(victim, "sub/empty"), { recursive: true });
    const leftover = join(victim, "8f14e45f-ceea-467f-9b1c-3ad3ec3b6dd5");
    for (const file of [leftover, join(victim, "sub/file")]) {
      writeFileSync(file, "theirs");
      utimesSync(file, 1, 1);
    }
    const before = await look(victim);
    const expectUntouched = async () => {
      expect(await look(victim)).toEqual(before);
      await repository.remove();
    };
    return { repository, victim, backup, expectUntouched };
  };
  const look = async (folder: string) =>
    (await readdir(folder, { recursive: true })).toSorted().map((name) => {
      const { mtimeMs, ino, mode } = lstatSync(join(folder, name));
      return { name, mtimeMs, ino, mode };
    });
  const LINK = "is a link, which varve does not follow; replace it with its target, or remove it\n";

  test("in the place of tmp has writes refused, and nothing is removed behind it", async () => {
    const { repository, victim, expectUntouched } = await make();
    rmSync(join(repository.url, "tmp"), { recursive: true });
    symlinkSync(victim, join(repository.url, "tmp"));
    expectOneLine(await repository.run(["backup", VOLUME], { stdin: fullStream(BYTES) }), {
      code: 1,
      line: new RegExp(`Cannot write .*: "tmp" ${LINK}`),
    });
    await repository.run(["restore", VOLUME, "--to", repository.path("restored.img")]);
    await expectUntouched();
  });

  test("in the place of a volume's folder is not written through, and nothing is deleted meanwhile", async () => {
    const { repository, victim, expectUntouched } = await make();
    await repository.backUp("acme/other", SMALL);
    const moved = repository.path("moved");
    renameSync(join(repository.url, "projects/acme/volumes/vm"), moved);
    for (const target of [victim, moved]) {
      symlinkSync(target, join(repository.url, "projects/acme/volumes/vm"));
      const refused = new RegExp(`Cannot .*: "vm" ${LINK}`, "m");
      for (const args of [["backup", VOLUME], ["gc", "--grace", "0"], ["list"], ["verify"]]) {
        const { code, stderr } = await repository.run(args, { stdin: fullStream(SMALL) });
        expect({ args, code, stderr }).toEqual({ args, code: 1, stderr: expect.stringMatching(refused) });
      }
      rmSync(join(repository.url, "projects/acme/volumes/vm"));
    }
    renameSync(moved, join(repository.url, "projects/acme/volumes/vm"));
    await repository.expectIntact();
    await expectUntouched();
  });

  test("in the place of a chunk or manifest is damage there, and is mended by writing", async () => {
    const { repository, backup, expectUntouched } = await make();
    const [shard = ""] = await readdir(join(repository.url, "projects/acme/chunks"));
    const [name = ""] = await readdir(join(repository.url, "projects/acme/chunks", shard));
    const chunk = join(repository.url, "projects/acme/chunks", shard, name);
    renameSync(chunk, repository.path("chunk"));
    symlinkSync(repository.path("chunk"), chunk);
    const manifest = join(repository.url, "projects/acme/volumes/vm", backup);
    const verified = await repository.run(["verify"]);
    expect(verified.code).toBe(3);
    expect(verified.stdout).toMatch(
      new RegExp(`(damaged|unavailable): chunks/${shard}/${name.slice(0, 12)}`),
    );
    await repository.backUp(VOLUME, SMALL, { snapshot: "s2" });
    await repository.expectIntact();
    renameSync(manifest, repository.path("manifest"));
    symlinkSync(repository.path("manifest"), manifest);
    const listed = await repository.run(["list"], { env: { XDG_CACHE_HOME: repository.path("new") } });
    expect(listed).toMatchObject({ code: 3, stderr: expect.stringContaining(`"${backup}" is a link`) });
    await expectUntouched();
  });

  test("within a project is taken away by erase, and not what it leads to", async () => {
    const { repository, victim, expectUntouched } = await make();
    for (const place of ["zz", "chunks/zz", "chunks/ab/zz", "volumes/zz", "keys/zz"]) {
      const path = join(repository.url, "projects/acme", place);
      mkdirSync(dirname(path), { recursive: true });
      symlinkSync(victim, path);
    }
    const erased = await repository.run(["erase", "acme", "--yes-erase", "acme"]);
    expect(erased).toMatchObject({ code: 0 });
    expect(existsSync(join(repository.url, "projects/acme"))).toBe(false);
    await expectUntouched();
  });

  test("in the place of the repository itself is the operator's own, and followed", async () => {
    const { repository, expectUntouched } = await make();
    const link = repository.path("link");
    symlinkSync(repository.url, link);
    const env = { VARVE_REPO: link };
    await repository.backUp(VOLUME, BYTES, { snapshot: "s2", env });
    await repository.expectIntact({ env });
    await expectUntouched();
  });
});
