/** What a host remembers, when somebody else could write to it, has written to it, or when it has no home. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { describeWith } from "../kit/parts.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS } from "../kit/repository.ts";
import { expectContent } from "../kit/restores.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";
import { fullStream } from "../kit/rbd_stream.ts";
import { messages } from "../kit/log.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const MONDAY = noise(5 * CHUNK_BYTES, "monday");
const TUESDAY = noise(5 * CHUNK_BYTES, "tuesday");

const bench = new Workbench(scratchFolder());
const disk = bench.path("disk");
const cache = join(bench.path("cache"), "varve");
let monday: string;
let tuesday: string;

beforeAll(async () => {
  await bench.json(["init", "acme", "--no-encryption", "--chunk-size", String(CHUNK_BYTES)]);
  const backUp = async (bytes: Uint8Array, snapshot: string) => {
    const { backup } = await bench.json<BackupReport>(["backup", "acme/vm"], {
      stdin: fullStream(bytes, snapshot),
    });
    return backup;
  };
  monday = await backUp(MONDAY, "monday");
  tuesday = await backUp(TUESDAY, "tuesday");
});

const restore = (point: string, env: Record<string, string> = {}) =>
  bench.json<RestoreReport>(["restore", `acme/vm@${point}`, "--to", disk], { env });

/** The first line of a record, changed, with the sum of its bytes behind it. */
function forge(path: string, change: (line: string) => string): void {
  const [line = ""] = fs.readFileSync(path, "utf8").split("\n");
  const forged = change(line);
  fs.writeFileSync(path, `${forged}\n${new Bun.CryptoHasher("sha256").update(forged).digest("hex")}\n`);
}

describe("a cache that was changed by somebody", () => {
  test("does not have a restore call a file unchanged that is not", async () => {
    await restore(monday);
    expect(await restore(monday)).toMatchObject({ way: "unchanged" });
    const records = join(cache, "files");
    for (const name of fs.readdirSync(records)) {
      forge(join(records, name), (line) => line.replaceAll(monday, tuesday));
    }
    expect(await restore(tuesday)).toMatchObject({ way: "compare" });
    expectContent(disk, TUESDAY);
    expect(await restore(tuesday)).toMatchObject({ way: "unchanged" });
  });

  test("does not have a verify pass over what was not read back", async () => {
    const verify = async () => {
      const { stdout } = await bench.run(["verify", "acme", "--max-age", "30"]);
      return / (\d+) read back/.exec(stdout)?.[1];
    };
    const all = await verify();
    expect(Number(all)).toBeGreaterThan(0);
    expect(await verify()).toBe("0");
    const [id = ""] = fs.readdirSync(cache).filter((name) => name !== "files");
    const path = join(cache, id, "acme/verified");
    const bytes = fs.readFileSync(path);
    bytes.set(new Bun.CryptoHasher("sha256").update(bytes.subarray(32)).digest());
    fs.writeFileSync(path, bytes);
    expect(await verify()).toBe(all!);
  });
});

describe("a cache folder", () => {
  const place = (name: string) => ({ XDG_CACHE_HOME: bench.path(name) });

  test("that others can write to is not used, and one line says how to mend that", async () => {
    const root = join(bench.path("shared"), "varve");
    fs.mkdirSync(root, { recursive: true });
    fs.cpSync(cache, root, { recursive: true });
    fs.chmodSync(root, 0o777);
    await restore(tuesday);
    const args = ["restore", `acme/vm@${tuesday}`, "--to", disk];
    const { code, stderr } = await bench.run(args, { env: place("shared") });
    expect(code).toBe(0);
    const [line = "", ...others] = stderr.trimEnd().split("\n");
    expect(others).toEqual([]);
    expect(messages(line)).toEqual([
      expect.stringMatching(/the cache folder ".*" is not used: other users can write to it \(mode 0777\)/),
    ]);
    expect((await restore(tuesday, place("shared"))).way).toBe("compare");
  });

  describeWith(["root"], "of another user", () => {
    test("is not used, nor is a file of another user in one's own", async () => {
      const root = join(bench.path("theirs"), "varve");
      fs.cpSync(cache, root, { recursive: true });
      const chown = (uid: number) => {
        for (const name of ["", ...fs.readdirSync(root, { recursive: true })]) {
          fs.chownSync(join(root, String(name)), uid, uid);
        }
      };
      chown(65534);
      const before = fs.readdirSync(root, { recursive: true });
      const { stderr } = await bench.run(["list"], { env: place("theirs") });
      expect(stderr).toContain("is not used: it belongs to another user (uid 65534)");
      expect((await restore(tuesday, place("theirs"))).way).toBe("compare");
      expect(fs.readdirSync(root, { recursive: true })).toEqual(before);
      fs.chownSync(root, 0, 0);
      expect((await restore(tuesday, place("theirs"))).way).toBe("compare");
    });
  });

  test("is made for its owner only, and a home folder never", async () => {
    const mode = (path: string) => fs.statSync(path).mode & 0o777;
    for (const name of ["", ...fs.readdirSync(cache, { recursive: true })]) {
      const path = join(cache, String(name));
      expect([name, mode(path)]).toEqual([name, fs.statSync(path).isDirectory() ? 0o700 : 0o600]);
    }
    const home = bench.path("no-such-home");
    const { VARVE_REPO = "" } = bench.env;
    const env = { HOME: home, XDG_CACHE_HOME: "" };
    const args = ["restore", "acme/vm", "--to", disk, "--repo", VARVE_REPO, "--json"];
    expect(await bench.run(args, { env })).toMatchObject({ code: 0, stderr: "" });
    expect(fs.existsSync(home)).toBe(false);
    fs.mkdirSync(home);
    expect(await bench.run(args, { env })).toMatchObject({ code: 0, stderr: "" });
    expect(fs.readdirSync(join(home, ".cache/varve"))).not.toEqual([]);
  });
});
