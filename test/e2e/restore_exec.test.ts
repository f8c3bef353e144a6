/** `varve restore --exec` of the built program: a command takes the volume, whole or not at all. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import { flipBit } from "../kit/damage.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import type { VarveOptions } from "../kit/varve.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const CHUNKS = 64;
const OLD = noise(CHUNKS * CHUNK_BYTES, "old");
/** Another chunk in the middle. */
const NEW = OLD.slice();
NEW.set(noise(CHUNK_BYTES, "new"), 40 * CHUNK_BYTES);
/** The place of its type in an object's header (docs/format.md). */
const TYPE_AT = 6;

describe("varve restore --exec", () => {
  let repository: TestRepository;
  let oldObjects: Set<string>;
  beforeAll(async () => {
    repository = await TestRepository.make();
    await repository.backUp("acme/vm", OLD, { snapshot: "old" });
    oldObjects = new Set(objects());
    await repository.backUp("acme/vm", NEW, { snapshot: "new" });
  });
  afterAll(() => repository.remove());
  afterEach(() => {
    for (const name of ["got", "log"]) rmSync(repository.path(name), { force: true });
  });

  function objects(): string[] {
    const folder = repository.path("repository/projects/acme/chunks");
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  }

  /** Turns a bit over in each of the objects that the newer point alone has and that are of the type; runs, and puts them right. */
  async function whileDamaged<T>(isPage: boolean, run: () => Promise<T>): Promise<T> {
    const damaged = objects().filter((path) => !oldObjects.has(path))
      .map((path) => ({ path, bytes: new Uint8Array(readFileSync(path)) }))
      .filter(({ bytes }) => (bytes[TYPE_AT] === OBJECT_TYPE.page) === isPage);
    expect(damaged.length).toBe(1);
    for (const { path, bytes } of damaged) writeFileSync(path, flipBit(bytes, bytes.length * 4));
    try {
      return await run();
    } finally {
      for (const { path, bytes } of damaged) writeFileSync(path, bytes);
    }
  }

  const restore = (words: string[], script: string, options: VarveOptions = {}) =>
    repository.run(["restore", ...words, "--exec", "--", "bash", "-c", script], {
      ...options,
      env: { GOT: repository.path("got"), LOG: repository.path("log"), ...options.env },
    });
  const got = () => readFileSync(repository.path("got"));
  const log = () => existsSync(repository.path("log")) ? readFileSync(repository.path("log"), "utf8") : "";
  /** Takes what comes, and tells whether that ended or whether it was ended itself. */
  const TAKE = `trap 'kill -9 $!; echo killed >>"$LOG"; exit 1' TERM
    echo started >>"$LOG"; { cat >"$GOT"; echo ended >>"$LOG"; } <&0 & wait`;
  const CUT = '; "bash" was killed before it had read everything; remove or roll back its output';

  test("gives the whole volume to the command, whose words go to standard error", async () => {
    const result = await restore(["acme/vm", "--json"], `echo out; echo err >&2; ${TAKE}`);
    expect(result).toMatchObject({ code: 0, stderr: expect.stringMatching(/^(out\nerr|err\nout)\n$/) });
    const report: RestoreReport = JSON.parse(result.stdout);
    expect(report).toMatchObject({ size_bytes: NEW.length, way: "new", damaged: [] });
    expect(got().equals(NEW)).toBe(true);
    expect(log()).toBe("started\nended\n");
  });

  test("gives a part of it", async () => {
    expect(await restore(["acme/vm", "--offset", "5M", "--length", "100"], TAKE)).toMatchObject({ code: 2 });
    const words = ["acme/vm@old", "--offset", "2M", "--length", "100"];
    expect(await restore(words, TAKE)).toMatchObject({ code: 0, stderr: "" });
    expect(got().equals(OLD.subarray(2 << 20, (2 << 20) + 100))).toBe(true);
  });

  test("gives it as a difference", async () => {
    const words = ["acme/vm@new", "--format", "rbd-diff", "--from", "old"];
    expect(await restore(words, TAKE)).toMatchObject({ code: 0, stderr: "" });
    const bytes = got();
    expect(bytes.subarray(0, 12).toString()).toBe("rbd diff v1\n");
    expect(bytes.at(-1)).toBe("e".charCodeAt(0));
    expect(bytes.includes(NEW.subarray(40 * CHUNK_BYTES, 41 * CHUNK_BYTES))).toBe(true);
    expect(bytes.length).toBeLessThan(CHUNK_BYTES + 200);
  });

  test("gives the command nothing of varve's or the store's in its environment", async () => {
    const env = { VARVE_JOBS: "3", AWS_SECRET_ACCESS_KEY: "secret", CEPH_ARGS: "--id backup" };
    const result = await restore(["acme/vm"], 'cat >/dev/null; env >"$GOT"', { env });
    expect(result).toMatchObject({ code: 0, stderr: "" });
    const names = got().toString().split("\n").map((line) => line.split("=")[0]);
    expect(names).toContain("CEPH_ARGS");
    expect(names.filter((name) => /^(?:VARVE|AWS)_/.test(name!))).toEqual([]);
  });

  test("starts nothing where there is no such point, or with --dry-run", async () => {
    expectOneLine(await restore(["acme/vm@nosuch"], TAKE), { code: 4, line: "Cannot find" });
    expect((await restore(["acme/vm", "--dry-run", "--quiet"], TAKE)).code).toBe(0);
    expect(log()).toBe("");
  });

  test("starts nothing where a page of the point cannot be read", async () => {
    const env = { XDG_CACHE_HOME: repository.path("no-cache") };
    for (const words of [["acme/vm"], ["acme/vm", "--format", "rbd-diff", "--keep-going"]]) {
      const result = await whileDamaged(true, () => restore(words, TAKE, { env }));
      expectOneLine(result, { code: 3, line: 'Cannot restore "acme/vm@' });
      expect(result.stderr).not.toContain("killed");
      expect(log()).toBe("");
    }
  });

  test("kills the command before its input ends where a chunk in the middle is damaged", async () => {
    const env = { XDG_CACHE_HOME: repository.path("no-cache") };
    for (const words of [["acme/vm"], ["acme/vm@new", "--format", "rbd-diff", "--from", "old"]]) {
      const result = await whileDamaged(false, () => restore(words, TAKE, { env }));
      expectOneLine(result, { code: 3, line: `Cannot restore "acme/vm@` });
      if (words.length > 1) continue; // its only chunk is damaged: there was nothing to start it for
      expect(result.stderr).toContain(CUT);
      expect(log()).toBe("started\nkilled\n");
    }
  });

  test("goes on with zeros in the place of what is damaged where it is told to", async () => {
    const env = { XDG_CACHE_HOME: repository.path("no-cache") };
    const result = await whileDamaged(false, () => restore(["acme/vm", "--keep-going"], TAKE, { env }));
    expect(result).toMatchObject({ code: 3, stderr: expect.stringContaining("zeros in their place") });
    const wanted = NEW.slice().fill(0, 40 * CHUNK_BYTES, 41 * CHUNK_BYTES);
    expect(got().equals(wanted)).toBe(true);
    expect(log()).toBe("started\nended\n");
  });

  test.each([
    ["before it reads", "echo sorry >&2; exit 7", "exited with code 7: sorry"],
    ["in the middle", "head -c 100000 >/dev/null; exit 9", "exited with code 9"],
    ["when it has all", "cat >/dev/null; echo no room >&2; exit 5", "exited with code 5: no room"],
    ["by a signal", "cat >/dev/null; kill -9 $$", "was killed by SIGKILL"],
  ])("fails with what the command says where that fails %s", async (_, script, end) => {
    const { code, stdout, stderr } = await restore(["acme/vm", "--quiet"], script);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr.trimEnd().split("\n").at(-1)).toBe(`varve: Cannot complete "bash": it ${end}`);
  });

  test("fails where the command is content with a part, or cannot be run", async () => {
    expectOneLine(await restore(["acme/vm"], "head -c 100 >/dev/null"), {
      code: 1,
      line: 'Cannot restore to "bash": it exited before reading all its input',
    });
    const result = await repository.run(["restore", "acme/vm", "--exec", "--", "no-such-command"]);
    expectOneLine(result, { code: 1, line: 'Cannot run "no-such-command": ' });
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("kills the command at %s", async (signal) => {
    const args = ["restore", "acme/vm", "--limit-rate", "1M", "--exec", "--", "bash", "-c", TAKE];
    const child = repository.start(args, {
      env: { GOT: repository.path("got"), LOG: repository.path("log") },
    });
    while (!existsSync(repository.path("got")) || got().length === 0) await Bun.sleep(2);
    child.kill(signal);
    const [stdout, stderr] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect({ code: await child.exited, stdout, stderr }).toEqual({
      ...{ code: 130, stdout: "" },
      stderr: `varve: Interrupted${CUT.replace(";", ":")}\n`,
    });
    expect(log()).toBe("started\nkilled\n");
  });

  test("kills a command that ignores SIGTERM", async () => {
    const script = `trap '' TERM; echo $$ >"$LOG"; sleep 1000 & while :; do wait; done`;
    const result = await whileDamaged(
      false,
      () =>
        restore(["acme/vm"], script.replace("sleep 1000 &", "cat >/dev/null <&0 &"), {
          env: { XDG_CACHE_HOME: repository.path("no-cache") },
        }),
    );
    expectOneLine(result, { code: 3, line: CUT });
    expect(() => process.kill(Number(log()), 0)).toThrow();
  });

  test("wants one place to restore to", async () => {
    const line = (words: string[]) => repository.run(["restore", "acme/vm", ...words]);
    expectOneLine(await line([]), { code: 2, line: "the target is missing; give either --to or --exec" });
    expectOneLine(await line(["--exec"]), { code: 2, line: "--exec needs a command after --" });
    expectOneLine(await line(["--to", "x", "--exec", "--", "cat"]), {
      code: 2,
      line: "the target is missing",
    });
    expectOneLine(await line(["--to", "x", "y"]), {
      code: 2,
      line: 'the argument "y" is not expected; a command needs --exec',
    });
    expectOneLine(await line(["--verify-target", "--exec", "--", "cat"]), {
      code: 2,
      line: "--verify-target",
    });
  });
});
