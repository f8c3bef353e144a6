/** The built program on file systems that cannot sync a folder: CIFS, sshfs and other FUSE file systems. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS } from "../kit/repository.ts";
import { VARVE_BIN } from "../kit/varve.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const BYTES = noise(2 * CHUNK_BYTES, "folders");

describeWith(["strace"], "varve where fsync on folders is refused", () => {
  let folder: string;
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "varve-folders-"))));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs varve; every folder of `folders` answers fsync with `code`. */
  const run = async (args: readonly string[], { code, folders }: { code: string; folders: string[] }) => {
    const paths = folders.flatMap((path) => ["-P", path]);
    const inject = ["-e", "trace=fsync", "-e", `inject=fsync:error=${code}`];
    const command = ["strace", "-f", "-qq", "-o", "/dev/null", ...paths, ...inject, VARVE_BIN, ...args];
    const env = { PATH: process.env.PATH ?? "", HOME: folder };
    const child = Bun.spawn(command, { env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const stderr = await new Response(child.stderr).text();
    return { code: await child.exited, stderr };
  };

  test.each(["EINVAL", "EOPNOTSUPP", "EBADF", "EACCES", "EISDIR"])(
    "init says so, and backup and restore work (%s)",
    async (code) => {
      const here = join(folder, code);
      mkdirSync(here);
      const repository = join(here, "repository");
      const [image, restored] = [join(here, "disk.img"), join(here, "new", "restored.img")];
      mkdirSync(join(here, "new"));
      writeFileSync(image, BYTES);
      const store = ["", "projects", "projects/acme", "projects/acme/volumes", "projects/acme/volumes/vm"];
      const folders = [here, join(here, "new"), ...store.map((path) => join(repository, path))];
      const failing = { code, folders };

      const made = await run([
        "--repo",
        repository,
        "init",
        "acme",
        "--no-encryption",
        "--chunk-size",
        String(CHUNK_BYTES),
      ], failing);
      expect(made.code).toBe(0);
      expect(made.stderr).toContain("does not sync directory entries by itself");
      const stored = await run(
        ["--repo", repository, "backup", "acme/vm", "--format", "raw", image],
        failing,
      );
      expect(stored).toEqual({ code: 0, stderr: "" });
      const back = await run(["--repo", repository, "restore", "acme/vm", "--to", restored], failing);
      expect(back).toEqual({ code: 0, stderr: "" });
      expect(readFileSync(restored).equals(BYTES)).toBe(true);
    },
  );

  test("restore into a new file fails when syncing its folder does", async () => {
    const here = join(folder, "EIO");
    mkdirSync(join(here, "new"), { recursive: true });
    const repository = join(folder, "EINVAL", "repository");
    const args = ["--repo", repository, "restore", "acme/vm", "--to", join(here, "new", "restored.img")];
    const { code, stderr } = await run(args, { code: "EIO", folders: [join(here, "new")] });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("Cannot sync") });
    expect(existsSync(repository)).toBe(true);
  });
});
