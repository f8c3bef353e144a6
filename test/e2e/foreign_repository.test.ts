/** Projects of one name and one secret in several repositories, and at several times: none is taken for another. */
import { beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { decodeCheckedJson, encodeCheckedJson } from "../../src/format/checked_json.ts";
import { noise, RUN_LIMIT_MS } from "../kit/repository.ts";
import type { VarveResult } from "../kit/varve.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const scratch = scratchFolder();
let count = 0;
let bench: Workbench;
/** By repository. */
let points: Record<"a" | "b", string>;

const CONTENT = { a: noise(200_000, "a"), b: noise(200_000, "b") };

beforeEach(async () => {
  const folder = join(scratch, String(count++));
  mkdirSync(folder);
  writeFileSync(join(folder, "secret"), noise(32, "secret"), { mode: 0o600 });
  bench = new Workbench(folder, { VARVE_KEY_FILE: join(folder, "secret") });
  points = { a: "", b: "" };
  for (const name of ["a", "b"] as const) {
    writeFileSync(bench.path(`${name}.img`), CONTENT[name]);
    expect(await run(name, ["init", "acme", "--chunk-size", "64K"])).toMatchObject({ code: 0 });
    points[name] = await backUp(name, name);
  }
});

const run = (repository: string, args: string[], env = {}): Promise<VarveResult> =>
  bench.run(args, { env: { VARVE_REPO: bench.path(repository), ...env } });

async function backUp(repository: string, content: "a" | "b"): Promise<string> {
  const args = ["backup", "acme/db", "--format", "raw", bench.path(`${content}.img`)];
  const env = { VARVE_REPO: bench.path(repository) };
  const [report] = [await bench.json<BackupReport | BackupReport[]>(args, { env })].flat();
  return report!.backup;
}

const project = (repository: string) => bench.path(`${repository}/projects/acme`);
const keyFile = (repository: string) =>
  join(project(repository), "keys", readdirSync(join(project(repository), "keys"))[0]!);
const restored = () => readFileSync(bench.path("restored.img"));

/** Restores the newest point, or that one. */
async function restore(repository: string, point = "latest", env = {}): Promise<VarveResult> {
  rmSync(bench.path("restored.img"), { force: true });
  return await run(repository, ["restore", `acme/db@${point}`, "--to", bench.path("restored.img")], env);
}

function idOf(repository: string): string {
  return String(
    decodeCheckedJson(readFileSync(bench.path(`${repository}/varve.json`)), "varve.json").repository,
  );
}

describe("a project of another repository with the same name and secret", () => {
  test("is not opened in the place of this one's", async () => {
    rmSync(project("a"), { recursive: true });
    cpSync(project("b"), project("a"), { recursive: true });
    const commands = [["verify", "acme"], ["verify"], ["list", "acme"], ["gc", "acme"], [
      "restore",
      "acme/db",
      "--to",
      "-",
    ]];
    const elsewhere = { XDG_STATE_HOME: bench.path("elsewhere"), XDG_CACHE_HOME: bench.path("elsewhere") };
    for (const env of [{}, elsewhere]) {
      for (const args of commands) {
        const { code, stdout, stderr } = await run("a", args, env);
        expect({ args, code, stdout }).toEqual({ args, code: 3, stdout: "" });
        expect(stderr).toContain(
          `it is the key of repository ${idOf("b")}, and this is repository ${idOf("a")}`,
        );
      }
    }
    const { code } = await run("a", ["backup", "acme/db", "--format", "raw", bench.path("a.img")]);
    expect(code).toBe(3);
  });

  test("is damage laid over this one's, and what is restored is this one's", async () => {
    cpSync(project("b"), project("a"), { recursive: true });
    expect((await run("a", ["verify", "acme"])).code).toBe(3);
    const latest = await restore("a");
    expect(latest.stderr).toContain(points.b);
    expect({ code: latest.code, isOurs: restored().equals(CONTENT.a) }).toEqual({ code: 3, isOurs: true });
    expect((await restore("a", points.b)).code).toBe(3);
    expect((await restore("a", points.a)).code).toBe(0);
    expect(restored().equals(CONTENT.a)).toBe(true);
  });

  test("is not opened where its key only says to be of this one", async () => {
    rmSync(project("a"), { recursive: true });
    cpSync(project("b"), project("a"), { recursive: true });
    const { varve: _, ...fields } = decodeCheckedJson(readFileSync(keyFile("a")), "key");
    writeFileSync(keyFile("a"), encodeCheckedJson({ ...fields, repository: idOf("a") }));
    const { code, stderr } = await run("a", ["verify", "acme"]);
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: expect.stringContaining("nothing proves that it is a key of this repository"),
    });
  });

  test("is not what a changed varve.json makes of this one", async () => {
    cpSync(bench.path("b/varve.json"), bench.path("a/varve.json"));
    for (const args of [["verify"], ["list", "acme"]]) expect((await run("a", args)).code).toBe(3);
  });
});

describe("the same project in another repository", () => {
  beforeEach(async () => {
    expect(await run("c", ["init", "--chunk-size", "64K"])).toMatchObject({ code: 0 });
    const copied = await run("a", ["copy", "acme", "--to", bench.path("c")]);
    expect(copied.code).toBe(0);
  });

  test("opens there after a copy: its key is bound to that repository, and wraps the same", async () => {
    expect((await restore("c")).code).toBe(0);
    expect(restored().equals(CONTENT.a)).toBe(true);
    expect(await run("c", ["verify", "acme"])).toMatchObject({ code: 0 });
    const [here, there] = [keyFile("a"), keyFile("c")].map((file) =>
      decodeCheckedJson(readFileSync(file), "key")
    );
    expect({ here: here!.repository, there: there!.repository }).toEqual({
      here: idOf("a"),
      there: idOf("c"),
    });
    expect(there!.holders).toEqual(here!.holders);
    expect((await run("a", ["copy", "acme", "--to", bench.path("c")])).code).toBe(0);
  });

  test("gives a repair the key that is gone, or another repository's", async () => {
    for (const spoil of [() => rmSync(keyFile("a")), () => cpSync(keyFile("c"), keyFile("a"))]) {
      spoil();
      expect((await run("a", ["list", "acme"])).code).toBe(3);
      expect((await run("a", ["repair", "acme", "--from-repo", bench.path("c")])).code).toBe(0);
      expect((await run("a", ["verify", "acme"])).code).toBe(0);
      expect(decodeCheckedJson(readFileSync(keyFile("a")), "key").repository).toBe(idOf("a"));
    }
  });

  test("opens in a repository that was copied as it is", async () => {
    cpSync(bench.path("a"), bench.path("rsync"), { recursive: true });
    expect((await run("rsync", ["verify"])).code).toBe(0);
    await backUp("rsync", "b");
    expect((await restore("rsync")).code).toBe(0);
    expect(restored().equals(CONTENT.b)).toBe(true);
  });
});

describe("a repository that has lost its varve.json", () => {
  test("gets its id back from its keys", async () => {
    const id = idOf("a");
    for (const size of [[], ["--chunk-size", "64K"]]) {
      rmSync(bench.path("a/varve.json"));
      expect((await run("a", ["init", ...size])).code).toBe(0);
      expect(idOf("a")).toBe(id);
      expect((await restore("a")).code).toBe(0);
    }
  });

  test("gets none where its keys disagree, and is told of them", async () => {
    const ids = [idOf("a"), idOf("b")];
    rmSync(bench.path("a/varve.json"));
    cpSync(project("b"), project("a"), { recursive: true });
    const { code, stderr } = await run("a", ["init"]);
    expect(code).toBe(11);
    for (const text of [...ids, "its keys are of different repositories"]) expect(stderr).toContain(text);
  });
});

describe("the project as it was before it was erased and made anew", () => {
  let note: string;

  beforeEach(async () => {
    cpSync(project("a"), bench.path("old"), { recursive: true });
    await bench.json(["erase", "acme", "--yes-erase", "acme"], { env: { VARVE_REPO: bench.path("a") } });
    expect((await run("a", ["init", "acme"])).code).toBe(0);
    await backUp("a", "b");
    renameSync(project("a"), bench.path("new"));
    cpSync(bench.path("old"), project("a"), { recursive: true });
    note = bench.path(`state/varve/${idOf("a")}/acme/volumes/db/.newest`);
  });

  test("is reported by every command, every time, and its note is kept", async () => {
    const before = readFileSync(note, "utf8");
    const told = expect.stringMatching(
      new RegExp(
        `"acme/db" was written with the key [0-9a-f]{16}, .* created again on purpose, remove "${note}"`,
      ),
    );
    const image = bench.path("a.img");
    const commands: [string[], number][] = [
      [["list", "acme"], 0],
      [["verify", "acme"], 3],
      [["verify"], 3],
      [["verify", "acme/db@latest"], 3],
      [["gc", "acme"], 3],
      [["forget", "acme/db@latest"], 3],
      [["restore", "acme/db", "--to", bench.path("restored.img")], 0],
      [["backup", "acme/db", "--format", "raw", image, "--quiet"], 0],
      [["verify", "acme"], 3],
    ];
    for (const [args, code] of commands) {
      const result = await run("a", args);
      expect({ args, code: result.code, stderr: result.stderr }).toEqual({ args, code, stderr: told });
    }
    expect(readFileSync(note, "utf8")).toBe(before);
    rmSync(note);
    expect(await run("a", ["verify", "acme"])).toMatchObject({ code: 0, stderr: "" });
  });

  test("is not, once the new one is back", async () => {
    expect((await run("a", ["verify", "acme"])).code).toBe(3);
    rmSync(project("a"), { recursive: true });
    renameSync(bench.path("new"), project("a"));
    expect(await run("a", ["verify", "acme"])).toMatchObject({ code: 0, stderr: "" });
  });
});
