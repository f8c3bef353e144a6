/** A store that was put back to an older state, or lost points: what the host that has seen them says, and when it is content. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { VerifyReport } from "../../src/engine/verify/verify.ts";
import { CHUNK_BYTES, lastLineText, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import type { VarveResult } from "../kit/varve.ts";

setDefaultTimeout(RUN_LIMIT_MS);

let repository: TestRepository;
/** Another host, which remembers things of its own. */
let other: Record<string, string>;
let points: string[];

beforeEach(async () => {
  repository = await TestRepository.make({ projects: ["acme", "beta"] });
  other = { XDG_CACHE_HOME: repository.path("other"), XDG_STATE_HOME: repository.path("other/state") };
  points = [];
  for (const seed of [1, 2, 3]) points.push(await backUp("acme/vm1", seed));
  points.push(await backUp("acme/deep/vm2", 4));
});
afterEach(() => repository.remove());

async function backUp(volume: string, seed: number, env = {}): Promise<string> {
  const options = { env, stdin: noise(2 * CHUNK_BYTES, seed) };
  return (await repository.json<BackupReport>(["backup", volume, "--format", "raw", "-"], options)).backup;
}

const folder = (name: string) => join(repository.url, "projects", name);
const lose = (name: string) => rmSync(folder(name), { recursive: true });
const run = (args: string[], env = {}) => repository.run(args, { env });
const notes = () => join(repository.path("state"), "varve");

const lastLine = ({ stderr }: VarveResult) => stderr.trimEnd().split("\n").at(-1);

/** The points that the warnings name. */
function said({ stderr }: VarveResult): string[] {
  const lines = stderr.split("\n").filter((line) => line.includes("this host has seen"));
  return lines.map((line) => /acme\/[\w/]+@[\w-]+/.exec(line)?.[0] ?? line).sort();
}

describe("the newest point of a volume that is gone", () => {
  beforeEach(() => {
    cpSync(repository.url, repository.path("second"), { recursive: true });
    lose(`acme/volumes/vm1/${points[2]}`);
  });

  test("is brought back by a repair from a second repository, and not missed any more", async () => {
    expect((await run(["repair", "acme"])).code).toBe(3);
    expect((await run(["repair", "acme", "--from-repo", repository.path("second")])).code).toBe(0);
    expect(await run(["verify", "acme"])).toMatchObject({ code: 0, stderr: "" });
  });

  test("is said by list, restore of the latest and backup, which do their work", async () => {
    const gone = `acme/vm1@${points[2]}`;
    for (
      const args of [
        ["list"],
        ["list", "acme"],
        ["list", "acme/vm1"],
        ["restore", "acme/vm1", "--to", repository.path("restored.img")],
      ]
    ) {
      const result = await run(args);
      expect({ args, code: result.code, said: said(result) }).toEqual({ args, code: 0, said: [gone] });
    }
    expect(readFileSync(repository.path("restored.img")).equals(noise(2 * CHUNK_BYTES, 2))).toBe(true);
    const args = ["backup", "acme/vm1", "--format", "raw", "-"];
    const again = await repository.run(args, { stdin: noise(CHUNK_BYTES, 5) });
    expect({ code: again.code, said: said(again) }).toEqual({ code: 0, said: [gone] });
    // It is missed also behind a newer one, until somebody says that this is right.
    for (let time = 0; time < 2; time++) {
      const verified = await run(["verify", "acme", "--exists"]);
      expect({ code: verified.code, said: said(verified) }).toEqual({ code: 3, said: [gone] });
    }
  });

  test("is missed by verify of the volume, the project and all, which names what to remove if that is right", async () => {
    for (const args of [["verify", "acme/vm1"], ["verify", "acme"], ["verify"], ["verify", "--exists"]]) {
      const result = await run(["--json", ...args]);
      expect(result.code).toBe(3);
      const [report] = [JSON.parse(result.stdout)].flat() as VerifyReport[];
      expect(report!.findings).toEqual([{
        kind: "missing",
        key: `projects/acme/volumes/vm1/${points[2]}`,
        reason: expect.stringContaining("although this host has seen it and no forget deleted it"),
        places: [expect.objectContaining({ volume: "vm1", backup: points[2] })],
      }]);
    }
    expect(await run(["verify", "acme/deep/vm2"])).toMatchObject({ code: 0, stderr: "" });
    const { stderr } = await run(["verify", "acme"]);
    const note = /remove "([^"]+)"/.exec(stderr)![1]!;
    expect(note).toStartWith(notes());
    rmSync(note);
    expect(await run(["verify", "acme"])).toMatchObject({ code: 0, stderr: "" });
  });

  test("is missed by verify of a single point, however it is named, and against a source", async () => {
    const file = repository.path("vm1.img");
    writeFileSync(file, noise(2 * CHUNK_BYTES, 2));
    for (
      const words of [[`acme/vm1@${points[1]}`], ["acme/vm1@latest"], ["acme/vm1@~1", "--exists"], [
        `acme/vm1@${points[1]}`,
        "--source",
        file,
      ], ["acme/vm1@latest", "--source", file]]
    ) {
      const result = await run(["verify", ...words]);
      expect({ words, code: result.code, said: said(result) }).toEqual({
        words,
        code: 3,
        said: [`acme/vm1@${points[2]}`],
      });
    }
    const { stdout } = await run(["verify", "acme/vm1@latest", "--source", file, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({
      differs: { bytes: 0 },
      missing: [{ key: `projects/acme/volumes/vm1/${points[2]}` }],
    });
  });

  test("is said with --quiet, too", async () => {
    const target = repository.path("restored.img");
    const backup = ["backup", "acme/vm1", "--format", "raw", target];
    const verify = ["verify", "acme", "--exists"];
    const runs: [string[], number][] = [
      [["list", "acme"], 0],
      [["restore", "acme/vm1", "--to", target], 0],
      [backup, 0],
      [verify, 3],
    ];
    for (const [args, code] of runs) {
      const result = await run([...args, "--quiet"]);
      expect({ args, code: result.code, said: said(result) }).toEqual({
        args,
        code,
        said: [`acme/vm1@${points[2]}`],
      });
    }
  });

  test("is said where a point is named by counting back, and a forget of such a point is refused", async () => {
    const gone = `acme/vm1@${points[2]}`;
    const restored = await run(["restore", "acme/vm1@~1", "--to", repository.path("restored.img")]);
    expect({ code: restored.code, said: said(restored) }).toEqual({ code: 0, said: [gone] });
    for (const point of ["latest", "~1", "2099-01-01"]) {
      const refused = await run(["forget", `acme/vm1@${point}`]);
      expect({ code: refused.code, line: lastLine(refused) }).toEqual({
        code: 3,
        line:
          `varve: Cannot tell which point "acme/vm1@${point}" is: this host has seen ${
            points[2]
          }, which is gone; ` +
          "name the point by its whole id",
      });
    }
    expect(readdirSync(folder("acme/volumes/vm1")).sort()).toEqual(points.slice(0, 2));
    expect((await run(["forget", `acme/vm1@id:${points[1]}`])).code).toBe(0);
  });

  test("stops a gc of the host, and nothing is deleted, unless it is forced", async () => {
    const objects = () => readdirSync(folder("acme/chunks"), { recursive: true }).length;
    const before = objects();
    const stopped = await run(["gc", "acme", "--grace", "0"]);
    expect({ code: stopped.code, line: lastLine(stopped) }).toEqual({
      code: 3,
      line:
        'varve: Cannot collect "acme": 1 restore point that this host has seen cannot be found, but no forget deleted them; ' +
        'nothing was deleted; restore them with "varve repair acme --from-repo URL", or use --force to give them up',
    });
    expect(objects()).toBe(before);
    expect((await run(["gc", "acme", "--grace", "0", "--force"])).code).toBe(0);
    expect(objects()).toBeLessThan(before);
  });

  test("another host that has not seen it knows nothing", async () => {
    expect(await run(["verify", "acme"], other)).toMatchObject({ code: 0, stderr: "" });
  });
});

describe("more than a point that is gone", () => {
  test("a volume, from its project's listing and by its name", async () => {
    lose("acme/volumes/deep");
    const gone = `acme/deep/vm2@${points[3]}`;
    for (
      const [args, code] of [
        [["verify", "acme"], 3],
        [["verify", "acme/deep/vm2"], 3],
        [["verify"], 3],
        [["list", "acme"], 0],
        [["list", "acme/deep/vm2"], 4],
        [["restore", "acme/deep/vm2", "--to", "-"], 4],
      ] as const
    ) {
      const result = await run([...args]);
      expect({ args, code: result.code, said: said(result) }).toEqual({ args, code, said: [gone] });
    }
  });

  test("a project, from the repository and by its name", async () => {
    await backUp("beta/db", 5);
    lose("beta");
    const text = 'project "beta", of which this host has seen restore points of "beta/db", is missing';
    for (
      const [args, code] of [[["verify"], 3], [["verify", "beta"], 3], [["list"], 0], [
        ["list", "beta"],
        4,
      ]] as const
    ) {
      const result = await run([...args]);
      expect({ args, code: result.code }).toEqual({ args, code });
      expect(result.stderr).toContain(text);
    }
    // Nor is one of that name made, which would hide the loss.
    for (
      const args of [["backup", "beta/db", "--format", "raw", "-"], [
        "init",
        "gamma",
        "beta",
        "--no-encryption",
      ]]
    ) {
      const result = await run(args);
      expect({ args, code: result.code }).toEqual({ args, code: args[0] === "init" ? 3 : 4 });
      expect(result.stderr).toContain(text);
      expect(result.stderr).not.toContain("varve init");
    }
    expect(existsSync(folder("gamma"))).toBe(false);
    const { stderr } = await run(["verify", "beta"]);
    rmSync(/remove "([^"]+)"/.exec(stderr)![1]!, { recursive: true });
    expect((await run(["verify"])).code).toBe(0);
    expect((await run(["init", "beta", "--no-encryption"])).code).toBe(0);
  });

  test("a store that was put back to yesterday: all that was made since", async () => {
    cpSync(repository.url, repository.path("yesterday"), { recursive: true });
    const today = [
      `acme/deep/vm2@${await backUp("acme/deep/vm2", 7)}`,
      `acme/vm1@${await backUp("acme/vm1", 6)}`,
    ];
    rmSync(repository.url, { recursive: true });
    cpSync(repository.path("yesterday"), repository.url, { recursive: true });
    const result = await run(["verify"]);
    expect({ code: result.code, said: said(result) }).toEqual({ code: 3, said: today });
  });
});

describe("what this host has seen", () => {
  test("is also what another host made", async () => {
    const point = await backUp("acme/vm1", 6, other);
    expect(said(await run(["list"]))).toEqual([]);
    lose(`acme/volumes/vm1/${point}`);
    expect(said(await run(["verify"]))).toEqual([`acme/vm1@${point}`]);
  });

  test("survives that the cache is deleted, and a note that is another's is not believed", async () => {
    rmSync(repository.path("cache"), { recursive: true });
    const [note, deep] = ["vm1", "deep/vm2"].map((volume) => {
      const [id] = readdirSync(notes());
      return join(notes(), id!, "acme/volumes", volume, ".newest");
    }) as [string, string];
    expect(statSync(note).mode & 0o777).toBe(0o600);
    expect(statSync(join(notes(), "..", "varve")).mode & 0o777).toBe(0o700);
    const whole = readFileSync(note);
    writeFileSync(note, readFileSync(deep));
    lose(`acme/volumes/vm1/${points[2]}`);
    const state =
      `this host's note of the newest restore point of "acme/vm1" cannot be read: "${note}" was changed`;
    for (const args of [["list"], ["verify"], ["verify", "acme/vm1@latest"], ["gc", "acme"]]) {
      const { code, stderr } = await run(args);
      expect({ args, code, stderr }).toEqual({
        args,
        code: args[0] === "list" ? 0 : 3,
        stderr: expect.stringContaining(state),
      });
    }
    expect(readFileSync(note)).toEqual(readFileSync(deep));
    writeFileSync(note, whole);
    expect((await run(["verify"])).code).toBe(3);
  });

  test("is not missed once this host or another one has forgotten it", async () => {
    await repository.json(["forget", `acme/vm1@${points[2]}`]);
    expect(await run(["verify"])).toMatchObject({ code: 0, stderr: "" });
    await repository.json(["forget", `acme/vm1@${points[1]}`], { env: other });
    expect(await run(["list", "acme/vm1"])).toMatchObject({ code: 0, stderr: "" });
    // From now on it does without the record of the forget.
    rmSync(folder("acme/forgotten"), { recursive: true });
    expect(await run(["verify"])).toMatchObject({ code: 0, stderr: "" });
    await repository.json(["forget", `acme/deep/vm2@${points[3]}`]);
    rmSync(folder("acme/forgotten"), { recursive: true });
    expect(await run(["verify"])).toMatchObject({ code: 0, stderr: "" });
  });

  test("goes with an erasure", async () => {
    await repository.json(["erase", "acme", "--yes-erase", "acme"]);
    const [id] = readdirSync(notes());
    expect(existsSync(join(notes(), id!, "acme"))).toBe(false);
    expect(await run(["verify"])).toMatchObject({ code: 0, stderr: "" });
  });

  test("is not noted, and nothing fails, where there is no home", async () => {
    for (const HOME of [repository.path("no-home"), "/dev/null"]) {
      const home = { XDG_STATE_HOME: "", HOME };
      await backUp("acme/homeless", 8, home);
      for (const args of [["list"], ["verify", "--exists"]]) {
        const result = await run([...args, "--log-level", "debug"], home);
        expect(result.code).toBe(0);
        expect(lastLineText(result)).toMatch(/could not record|are not recorded/);
      }
    }
    expect(existsSync(repository.path("no-home"))).toBe(false);
  });
});
