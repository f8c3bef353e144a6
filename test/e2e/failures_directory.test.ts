/** The built program and a directory store that fills up, is read-only, and goes away under it. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { mountTmpfs, remount, runAsRoot, unmount } from "../helpers/mounts.ts";
import { describeWith } from "../helpers/parts.ts";
import {
  CHUNK_BYTES,
  expectOneLine,
  fullStream,
  noise,
  RUN_LIMIT_MS,
  TestRepository,
} from "../helpers/repository.ts";
import type { VarveResult } from "../helpers/varve.ts";

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
  expect(result.stderr).toMatch(/^\{.*"msg":"could not remove the lease; it ends by its age"\}\n/);
  const stderr = result.stderr.slice(result.stderr.indexOf("\n") + 1);
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
  expect(await readdir(repository.folder)).toEqual(["repository"]);
  await repository.remove();
});

test("nothing waits for a named pipe in the place of an object, and strays are in nobody's way", async () => {
  const repository = await TestRepository.make();
  await repository.backUp(VOLUME, SMALL);
  for (
    const folder of ["", "projects", "projects/acme", "projects/acme/chunks", "projects/acme/volumes/vm"]
  ) {
    const here = join(repository.url, folder);
    runAsRoot(["mkfifo", join(here, "pipe")]);
    symlinkSync("loop", join(here, "loop"));
    symlinkSync("/nonexistent", join(here, "dangling"));
    mkdirSync(join(here, "lost+found"));
  }
  await repository.expectIntact();
  for (const args of [["verify"], ["gc"], ["stats"], ["list"]]) {
    expect(await repository.run(args)).toMatchObject({ code: 0, stderr: "" });
  }
  rmSync(join(repository.url, "varve.json"));
  runAsRoot(["mkfifo", join(repository.url, "varve.json")]);
  expectOneLine(await repository.run(["list"]), { code: 10, line: /Cannot open .*no such object/ });
  await repository.remove();
});
