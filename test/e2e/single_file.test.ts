/** The one file: without the checkout, an environment or an addon, with broken workers, and on other platforms. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { mountTmpfs, unmount } from "../kit/mounts.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, expectOneLine, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { VARVE_BIN, type VarveResult } from "../kit/varve.ts";
import { fullStream } from "../kit/rbd_stream.ts";

const CHECKOUT = join(import.meta.dirname, "../..");
const VERSION = `varve ${JSON.parse(readFileSync(join(CHECKOUT, "package.json"), "utf8")).version}\n`;
const SIZE_BYTES = 5 * CHUNK_BYTES + 777;

setDefaultTimeout(RUN_LIMIT_MS);

/** Text, so that zstd has something to do. */
function text(seed: string): Uint8Array {
  const lines = Array.from({ length: SIZE_BYTES / 8 }, (_, index) => `${seed} ${index * 7919}\n`);
  return new Uint8Array(Buffer.from(lines.join("")).subarray(0, SIZE_BYTES));
}

async function run(
  command: readonly string[],
  options: { env?: Record<string, string>; stdin?: Uint8Array } = {},
) {
  const { env = {}, stdin = new Uint8Array() } = options;
  const child = Bun.spawn([...command], { env, stdin, stdout: "pipe", stderr: "pipe", cwd: tmpdir() });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  return { code: child.exitCode, stdout, stderr } satisfies VarveResult;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "varve-single-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describeWith(["root"], "the file alone, in a folder of its own", () => {
  test("backs up and restores when checkout, home and environment are gone", async () => {
    const alone = join(folder, "alone");
    mkdirSync(alone);
    copyFileSync(VARVE_BIN, join(alone, "varve"));
    writeFileSync(join(alone, "volume.img"), text("alone"));
    const script = `set -e
      for folder; do mount -t tmpfs none "$folder"; done
      cd '${alone}'
      varve() { env -i ./varve "$@"; }
      varve --version
      varve init acme --no-encryption --quiet
      varve backup acme/vm volume.img --format raw
      varve show acme/vm --field size_bytes
      varve restore acme/vm --to restored.img
      cmp volume.img restored.img
      ls
      ls '${CHECKOUT}' # nothing: it was gone indeed`;
    const hidden = [CHECKOUT, homedir()].filter((path) => !alone.startsWith(`${path}/`));
    const command = ["unshare", "--mount", "bash", "-c", script, "bash", ...hidden];
    expect(await run(command, { env: { PATH: process.env.PATH ?? "" } })).toEqual({
      code: 0,
      stdout: `${VERSION}${SIZE_BYTES}\nrestored.img\nvarve\nvolume.img\n`,
      stderr: "",
    });
  });
});

describeWith(["root", "strace"], "the addon in the file", () => {
  let repository: TestRepository;
  let noexec: string;
  beforeAll(async () => {
    repository = await TestRepository.make();
    noexec = join(folder, "noexec");
    mountTmpfs(noexec, ["noexec", `size=${64 * 1024 * 1024}`]);
  });
  afterAll(async () => {
    unmount(noexec);
    await repository.remove();
  });

  /** Backs up, with `command` in front of the program; which zstd it says that it uses. */
  const backUp = async (volume: string, { command = [] as string[], env = {} as Record<string, string> }) => {
    const args = ["backup", volume, "--json", "--log-level", "debug"];
    const result = await run([...command, VARVE_BIN, ...args], {
      stdin: fullStream(text(volume)),
      env: { PATH: process.env.PATH ?? "", ...repository.env, ...env },
    });
    expect(result.code).toBe(0);
    const report = JSON.parse(result.stdout) as BackupReport;
    repository.expectPoint(volume, report.backup, text(volume));
    expect(report.uploaded_bytes).toBeLessThan(SIZE_BYTES / 2); // it was compressed
    const lines = result.stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
    return lines.find(({ zstd }) => zstd !== undefined)?.zstd;
  };

  test("is loaded out of memory, once for all threads, and leaves the temporary folder alone", async () => {
    const log = join(folder, "addon.log");
    const command = ["strace", "-f", "-qq", "-o", log, "-e", "trace=openat,open,memfd_create"];
    expect(await backUp("acme/by-addon", { command, env: { TMPDIR: noexec } })).toBe("zstd-napi");
    const calls = readFileSync(log, "utf8");
    expect(calls).not.toContain(noexec);
    expect(calls.match(/memfd_create\("varve addon"/g)).toHaveLength(1);
    expect(readdirSync(noexec)).toEqual([]);
  });

  test("is done without where the system gives no such memory, which is said at debug level", async () => {
    const inject = ["-e", "trace=memfd_create", "-e", "inject=memfd_create:error=EPERM"];
    const command = ["strace", "-f", "-qq", "-o", "/dev/null", ...inject];
    expect(await backUp("acme/by-bun", { command, env: { TMPDIR: noexec } })).toBe("bun");
    expect(readdirSync(noexec)).toEqual([]);
  });

  test("restores what was made without it, and what was made with it", async () => {
    await repository.expectIntact({ env: { XDG_CACHE_HOME: join(folder, crypto.randomUUID()) } });
  });

  test("is not loaded when the version, help or a list is asked for", async () => {
    const log = join(folder, "unloaded.log");
    for (const args of [["--version"], ["backup", "--help"], ["list"]]) {
      const command = ["strace", "-f", "-qq", "-o", log, "-e", "trace=memfd_create", VARVE_BIN, ...args];
      const env = { PATH: process.env.PATH ?? "", ...repository.env };
      expect((await run(command, { env })).code).toBe(0);
      expect(readFileSync(log, "utf8")).not.toContain("varve addon");
    }
  });

  test("is not missed when there is no temporary folder at all", async () => {
    const env = { TMPDIR: join(folder, "missing") };
    expect(await repository.run(["--version"], { env })).toEqual({ code: 0, stdout: VERSION, stderr: "" });
    expect(await backUp("acme/no-folder", { env })).toBe("zstd-napi");
  });
});

describe("a file whose workers cannot start", () => {
  /** A copy of the program in which one worker has another name, so that it is not found. */
  const breakWorker = (name: string): string => {
    const program = readFileSync(VARVE_BIN);
    const path = `/$bunfs/root/workers/${name}.js`;
    // The directory of the embedded files comes behind their content, in which the path is in quotes.
    let at = program.lastIndexOf(`"${path}"`) + path.length;
    while ((at = program.indexOf(path, at + 1)) > 0) {
      program.write(path.replace(name, "x".repeat(name.length)), at);
    }
    const broken = join(folder, `broken-${name}`);
    writeFileSync(broken, program, { mode: 0o755 });
    return broken;
  };

  test.each(["pool_worker", "chunk_worker"])(
    "rejects a backup in one line when %s cannot be loaded",
    async (name) => {
      const repository = await TestRepository.make();
      const program = breakWorker(name);
      const stdin = fullStream(text(name));
      const result = await run([program, "backup", "acme/vm"], { env: repository.env, stdin });
      expectOneLine(result, { code: 1, line: /^varve: Cannot work on chunks: a worker thread failed: / });
      expect(await run([program, "--version"])).toEqual({ code: 0, stdout: VERSION, stderr: "" });
      await repository.expectNothingNew();
      await repository.remove();
    },
  );
});

describe("scripts/build-all", () => {
  const built = (platform: string) => join(folder, "built", `varve${platform && `-${platform}`}`);
  beforeAll(async () => {
    const env = Object.fromEntries(Object.entries(process.env).map(([name, value]) => [name, value ?? ""]));
    const result = await run([join(CHECKOUT, "scripts/build-all"), join(folder, "built")], { env });
    expect(result).toMatchObject({ code: 0 });
  });

  test.each([
    ["", "x86-64", "/lib64/ld-linux-x86-64.so.2"],
    ["linux-x64-baseline", "x86-64", "/lib64/ld-linux-x86-64.so.2"],
    ["linux-x64-musl", "x86-64", "/lib/ld-musl-x86_64.so.1"],
    ["linux-arm64", "aarch64", "/lib/ld-linux-aarch64.so.1"],
    ["linux-arm64-musl", "aarch64", "/lib/ld-musl-aarch64.so.1"],
  ])('builds "%s" for %s with the loader %s', (platform, machine, loader) => {
    expect(existsSync(built(platform))).toBe(true);
    const head = readFileSync(built(platform)).subarray(0, 4096);
    // elf(5): e_machine, and the path in PT_INTERP.
    const machines = new Map([[62, "x86-64"], [183, "aarch64"]]);
    expect(machines.get(head.readUInt16LE(18))).toBe(machine);
    expect(/\/lib\w*\/ld-[\w.-]+/.exec(head.toString("latin1"))?.[0]).toBe(loader);
  });

  /** Backs up with each of two programs, and restores what the other has made. */
  const crossRestore = async (programs: readonly (readonly string[])[]) => {
    const repository = await TestRepository.make();
    const env = { PATH: process.env.PATH ?? "", ...repository.env };
    for (const [index, program] of programs.entries()) {
      const bytes = text(`program ${index}`);
      const args = ["backup", `acme/vm-${index}`, "--json"];
      const backup = await run([...program, ...args], { env, stdin: fullStream(bytes) });
      expect(backup).toMatchObject({ code: 0, stderr: "" });
      const to = repository.path("restored.img");
      const other = programs[1 - index]!;
      const restored = await run([...other, "restore", `acme/vm-${index}`, "--to", to], {
        env: { ...env, XDG_CACHE_HOME: repository.path("another-cache") },
      });
      expect(restored).toMatchObject({ code: 0, stderr: "" });
      expect(readFileSync(to).equals(bytes)).toBe(true);
    }
    await repository.remove();
  };

  test("makes files for older x64 processors that work with this one's repository", async () => {
    expect(await run([built("linux-x64-baseline"), "--version"])).toMatchObject({ code: 0, stdout: VERSION });
    await crossRestore([[built("")], [built("linux-x64-baseline")]]);
  });

  describeWith(["qemu-user"], "for arm64", () => {
    test("makes a file that works with this one's repository", async () => {
      const arm64 = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu", built("linux-arm64")];
      expect(await run([...arm64, "--version"], { env: { PATH: process.env.PATH ?? "" } })).toMatchObject({
        code: 0,
        stdout: VERSION,
      });
      await crossRestore([[built("")], arm64]);
    });
  });
});
