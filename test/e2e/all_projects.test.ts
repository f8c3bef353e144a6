/** Commands over all projects, where one of them cannot be opened: they do the others, name it, and say so in the end. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { CHUNK_BYTES, noise, TestRepository } from "../kit/repository.ts";

setDefaultTimeout(60_000);

const PASSPHRASE = { VARVE_PASSPHRASE: "correct horse" };
const COMMANDS = [["list"], ["stats"], ["verify", "--exists"], ["gc", "--dry-run"], ["gc"]];

describe("varve over all projects", () => {
  let repository: TestRepository;

  /** Three projects in the order of their names: the one in the middle has a passphrase. */
  beforeAll(async () => {
    repository = await TestRepository.make({ projects: ["acme", "gamma"] });
    await repository.json(["init", "beta"], { env: PASSPHRASE });
    for (const [volume, env] of [["acme/db", {}], ["beta/db", PASSPHRASE], ["gamma/db", {}]] as const) {
      await repository.json(["backup", volume, "--format", "raw", "-"], {
        env,
        stdin: noise(CHUNK_BYTES, volume),
      });
    }
  });
  afterAll(() => repository.remove());

  async function run(args: string[], env = {}) {
    const { code, stdout, stderr } = await repository.run(["--json", ...args], { env });
    const projects = (JSON.parse(stdout) as { project: string }[]).map(({ project }) => project);
    return { code, projects, leftOut: stderr.match(/^skipped: .*$/gm)?.map((line) => line.split(":")[1]) };
  }

  for (const args of COMMANDS) {
    test(`varve ${args.join(" ")} does the others where a secret is wrong, and exits with 13`, async () => {
      expect(await run(args)).toEqual({ code: 13, projects: ["acme", "gamma"], leftOut: [" beta"] });
      const { code, stdout, stderr } = await repository.run(args);
      expect(code).toBe(13);
      const isAnswer = args.join(" ") !== "gc"; // that says only on a terminal what it did
      for (const project of ["acme", "gamma"]) expect(stdout.includes(project)).toBe(isAnswer);
      expect(stderr).toMatch(/^skipped: beta: Cannot open project "beta": it needs a passphrase: [^\n]+$/m);
      expect(stderr).toMatch(
        /^varve: Cannot process all projects of ".*": 1 project named above was skipped/m,
      );
      expect(await run(args, PASSPHRASE)).toEqual({
        code: 0,
        projects: ["acme", "beta", "gamma"],
        leftOut: undefined,
      });
    });
  }

  test("the JSON of the error names those that were left out, and why", async () => {
    const { stderr } = await repository.run(["--json", "list"]);
    const { error } = JSON.parse(stderr.trimEnd().split("\n").at(-1)!);
    expect(error).toMatchObject({
      code: "wrong_secret",
      skipped: [{
        project: "beta",
        code: "wrong_secret",
        message: expect.stringContaining("needs a passphrase"),
      }],
    });
  });

  test("damage to another one comes first, whatever is found first", async () => {
    const volumes = join(repository.url, "projects/gamma/keys");
    const [key] = await Array.fromAsync(new Bun.Glob("*").scan(volumes));
    truncateSync(join(volumes, key!), 10);
    for (const args of COMMANDS) {
      expect(await run(args)).toEqual({ code: 3, projects: ["acme"], leftOut: [" beta", " gamma"] });
    }
  });

  test("what is damaged within a project comes before a project that is left out", async () => {
    rmSync(join(repository.url, "projects/gamma"), { recursive: true });
    const volume = join(repository.url, "projects/acme/volumes/db");
    const [manifest] = await Array.fromAsync(new Bun.Glob("*").scan(volume));
    truncateSync(join(volume, manifest!), 10);
    const env = { XDG_CACHE_HOME: repository.path("cold") }; // a manifest that is remembered is not read again
    for (const args of COMMANDS.slice(0, 3)) {
      const { code, stderr } = await repository.run(args, { env });
      expect({ code, isSaid: stderr.includes("skipped: beta: ") }).toEqual({ code: 3, isSaid: true });
    }
  });
});
