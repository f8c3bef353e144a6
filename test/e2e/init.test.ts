/** What is made on purpose, and by nothing else: repositories and projects. And what keys a project is believed to have. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { decodeCheckedJson, encodeCheckedJson } from "../../src/format/checked_json.ts";
import { deriveKeys, repositoryMac } from "../../src/codec/keys.ts";
import { toHex } from "../../src/util/bytes.ts";
import { noise } from "../kit/engine.ts";
import { describeWith } from "../kit/parts.ts";
import { type Place, PLACES } from "../kit/places.ts";
import { RUN_LIMIT_MS } from "../kit/repository.ts";
import { Terminal } from "../kit/terminal.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

const folder = scratchFolder();
const BYTES = noise(1, 300_000);

/** A bench of its own, with a passphrase file `sesame`, another, and a volume's file. */
function newBench(name: string): Workbench {
  const at = join(folder, name);
  mkdirSync(at);
  const bench = new Workbench(at);
  writeFileSync(bench.path("disk.img"), BYTES);
  for (
    const [file, text] of [["sesame", "open sesame, please\n"], ["other", "another passphrase\n"]] as const
  ) {
    writeFileSync(bench.path(file), text, { mode: 0o600 });
  }
  return bench;
}

const sealed = (bench: Workbench) => ({ VARVE_PASSPHRASE_FILE: bench.path("sesame") });
const backUp = (bench: Workbench, volume: string, env: Record<string, string> = {}) =>
  bench.run(["backup", volume, "--format", "raw", bench.path("disk.img")], { env });

describe("varve init", () => {
  test("makes the repository and projects, then more projects, and says what they open with", async () => {
    const bench = newBench("makes");
    const made = new Terminal(`varve init acme beta --passphrase-file ${bench.path("sesame")}`, bench.env);
    expect(await made.ended()).toEqual([0]);
    expect(made.output.replaceAll("\r", "")).toMatch(
      /^Created the repository .*\nCreated the project "acme", encrypted.*\nCreated the project "beta"/,
    );
    const silent = await bench.run(["init", "open", "--no-encryption"]);
    expect(silent).toEqual({ code: 0, stdout: "", stderr: "" });
    for (const volume of ["acme/db", "beta/db", "open/db"]) {
      expect((await backUp(bench, volume, sealed(bench))).code).toBe(0);
    }
    const list = await bench.json<{ project: string; encryption: string }[]>(["list"], {
      env: sealed(bench),
    });
    expect(list.map(({ project, encryption }) => [project, encryption])).toEqual([
      ["acme", "passphrase"],
      ["beta", "passphrase"],
      ["open", "none"],
    ]);
    expect((await bench.run(["show", "open/db", "--field", "encryption"])).stdout).toBe("none\n");
  });

  test("makes nothing without a secret, with two, or with a secret and --no-encryption", async () => {
    const bench = newBench("refuses");
    const [sesame, other] = ["sesame", "other"].map((name) => bench.path(name)) as [string, string];
    const cases: [words: string[], state: string][] = [
      [["acme"], "no secret was given; use --passphrase-file, --key-file or --no-encryption"],
      [["acme", "--passphrase-file", sesame, "--passphrase-file", other], "2 secrets were given"],
      [
        ["acme", "--no-encryption", "--passphrase-file", sesame],
        "--no-encryption contradicts --passphrase-file",
      ],
    ];
    for (const [words, state] of cases) {
      const { code, stderr } = await bench.run(["init", ...words]);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(state) });
      expect(existsSync(bench.path("repository"))).toBe(false);
    }
  });

  test("warns of a passphrase that can be guessed, and of a file that others can read", async () => {
    const bench = newBench("warns");
    writeFileSync(bench.path("short"), "sesame\r\n");
    chmodSync(bench.path("short"), 0o644);
    const { code, stderr } = await bench.run(["init", "acme", "--passphrase-file", bench.path("short")]);
    expect(code).toBe(0);
    for (const warning of ["has only 7 bytes", "ends with CR LF", "(mode 0644); run chmod 600"]) {
      expect(stderr).toContain(warning);
    }
  });

  test("makes nothing where a part of it is there already, and says so, whatever secret it has", async () => {
    const bench = newBench("there");
    await bench.json(["init", "acme", "beta"], { env: sealed(bench) });
    await backUp(bench, "acme/db", sealed(bench));
    const cases: [words: string[], state: RegExp][] = [
      [[], /^varve: Cannot create a repository in ".*": it already has one\n$/],
      [["zeta", "acme", "eta"], /"acme".*: it already exists; "zeta", "eta" were not created either\n$/],
    ];
    for (const [words, state] of cases) {
      for (const env of [{}, sealed(bench), { VARVE_PASSPHRASE_FILE: bench.path("other") }]) {
        if (words.length > 0 && !("VARVE_PASSPHRASE_FILE" in env)) continue;
        const { code, stderr } = await bench.run(["init", ...words], { env });
        expect({ code, stderr }).toEqual({ code: 11, stderr: expect.stringMatching(state) });
      }
    }
    expect(readdirSync(bench.path("repository/projects")).sort()).toEqual(["acme", "beta"]);
  });

  test("takes the secret of the options before that of the environment, which opens projects too", async () => {
    const bench = newBench("options");
    await bench.json(["init", "acme"], { env: sealed(bench) });
    await backUp(bench, "acme/db", sealed(bench));
    const words = ["--passphrase-file", bench.path("other")];
    await bench.json(["init", "beta", ...words], { env: sealed(bench) });
    expect((await bench.run(["list", "acme", ...words], { env: sealed(bench) })).code).toBe(0);
    expect((await bench.run(["list", "acme", ...words])).code).toBe(13);
    expect((await bench.run(["list", "beta"], { env: sealed(bench) })).code).toBe(13);
    const lost = { VARVE_PASSPHRASE_FILE: bench.path("none") };
    expect(await bench.run(["list", "beta", ...words], { env: lost })).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("only the secrets of the options are used"),
    });
  });

  test("says what to do about a varve.json that is damaged, and makes none in its place", async () => {
    const bench = newBench("damaged");
    await bench.json(["init", "acme"], { env: sealed(bench) });
    for (const text of ["", "{}", "garbage"]) {
      writeFileSync(bench.path("repository/varve.json"), text);
      for (const words of [["list"], ["init"], ["init", "beta"]]) {
        const { code, stderr } = await bench.run(words, { env: sealed(bench) });
        expect({ code, stderr }).toEqual({
          code: 3,
          stderr: expect.stringMatching(/restore it from a copy, or remove it and run "varve init"/),
        });
      }
    }
  });

  test("goes on with the chunk size of the backups where varve.json is lost", async () => {
    const bench = newBench("lost");
    await bench.json(["init", "acme", "--chunk-size", "64K"], { env: sealed(bench) });
    expect((await backUp(bench, "acme/db", sealed(bench))).code).toBe(0);
    rmSync(bench.path("repository/varve.json"));
    expect((await bench.run(["list"], { env: sealed(bench) })).code).toBe(10);
    const { code, stderr } = await bench.run(["init"]);
    expect({ code, stderr }).toEqual({
      code: 13,
      stderr: expect.stringContaining("it has projects of unknown chunk size"),
    });
    expect((await bench.run(["init"], { env: { ...sealed(bench), VARVE_KEY_FILE: "" } })).code).toBe(2);
    const again = await bench.run(["init", "acme", "beta"], { env: sealed(bench) });
    expect({ code: again.code, stderr: again.stderr }).toEqual({
      code: 11,
      stderr: expect.stringMatching(
        /lost its "varve.json"; recreate that with "varve init" without a project\n$/,
      ),
    });
    expect((await bench.run(["list"], { env: sealed(bench) })).stderr).toMatch(
      /its "varve.json" is missing, but its projects are there \("acme"\): restore it from a copy, or /,
    );
    const made = await bench.run(["init", "beta", "--json"], { env: sealed(bench) });
    expect(JSON.parse(made.stdout)).toMatchObject({ chunk_size_bytes: 65_536 });
    expect(made.stderr).toContain('its projects are there: \\"acme\\"');
    await bench.json(["restore", "acme/db", "--to", bench.path("back.img")], { env: sealed(bench) });
    expect(Buffer.compare(await Bun.file(bench.path("back.img")).bytes(), BYTES)).toBe(0);
  });
});

for (const [name, parts, start] of PLACES) {
  describeWith(parts, `varve init in ${name}`, () => {
    let place: Place;
    let bench: Workbench;
    beforeAll(async () => {
      place = await start();
      const at = join(folder, `init in ${name}`);
      mkdirSync(at);
      bench = new Workbench(at, place.env);
    });
    afterAll(() => place?.stop());

    test("makes one repository of several at once, and the others say conflict", async () => {
      const sizes = [64, 128, 256, 512].map((kib) => kib * 1024);
      const runs = await Promise.all(
        sizes.map((size, at) => bench.run(["init", `p${at}`, "--no-encryption", "--chunk-size", `${size}`])),
      );
      const won = runs.findIndex(({ code }) => code === 0);
      expect(runs.map(({ code }) => code)).toEqual(sizes.map((_, at) => at === won ? 0 : 11));
      expect(runs.map(({ stderr }) => stderr).join("")).not.toContain("    at ");
      expect(await bench.json<object[]>(["list"])).toEqual([]);
      const report = await bench.json(["init", "more", "--no-encryption"]);
      expect(report).toMatchObject({ chunk_size_bytes: sizes[won]! });
    }, RUN_LIMIT_MS);

    test("makes none below the projects of another, and names that", async () => {
      const outer = bench.env.VARVE_REPO!.replace(/\/$/, "");
      const before = (await place.keys()).toSorted();
      for (const inner of ["projects", "projects/acme", "projects/acme/chunks/00/deep/"]) {
        const { code, stderr } = await bench.run([
          "init",
          "x",
          "--no-encryption",
          "--repo",
          `${outer}/${inner}`,
        ]);
        expect({ code, stderr }).toEqual({
          code: 11,
          stderr: expect.stringContaining(
            `it is inside the repository "${outer}"; choose another location\n`,
          ),
        });
      }
      expect((await place.keys()).toSorted()).toEqual(before);
      expect((await bench.run(["init", "--repo", `${outer}/beside/projects`])).code).toBe(0);
    }, RUN_LIMIT_MS);
  });
}

test("varve init makes no project that is called like a backup", async () => {
  const bench = newBench("backup-id");
  const { code, stderr } = await bench.run(["init", "20261129T050502000Z-1b4fa8a0", "--no-encryption"]);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringContaining("it looks like the id of a restore point"),
  });
  expect(existsSync(bench.path("repository"))).toBe(false);
});

describe("a backup", () => {
  test("makes no project, and says what makes it", async () => {
    const bench = newBench("typo");
    await bench.json(["init", "acme", "--no-encryption"]);
    const { code, stderr } = await backUp(bench, "acmee/db");
    expect({ code, stderr }).toEqual({
      code: 4,
      stderr: expect.stringMatching(/the repository has "acme"; create it with "varve init acmee"\n$/),
    });
    expect(readdirSync(bench.path("repository/projects"))).toEqual(["acme"]);
  });

  test("makes no repository, and names the one that is near", async () => {
    const bench = newBench("near");
    await bench.json(["init"]);
    const cases = [bench.folder, bench.path("repositry"), bench.path("repository/below")];
    for (const VARVE_REPO of cases) {
      const { code, stderr } = await backUp(bench, "acme/db", { VARVE_REPO });
      expect({ code, stderr }).toEqual({
        code: 10,
        stderr: expect.stringContaining(`it does not exist; nearby: "${bench.path("repository")}"`),
      });
    }
    expect(existsSync(bench.path("repositry"))).toBe(false);
  });
});

describe("a copy", () => {
  test("goes only where init was", async () => {
    const bench = newBench("copy");
    await bench.json(["init", "acme", "--no-encryption"]);
    await backUp(bench, "acme/db");
    const [second, image] = [bench.path("second"), bench.path("back.img")];
    const refused = await bench.run(["copy", "acme", "--to", second]);
    expect(refused.code).toBe(10);
    expect(existsSync(second)).toBe(false);
    await bench.json(["init", "--repo", second]);
    await bench.json(["copy", "acme", "--to", second]);
    await bench.json(["restore", "acme/db", "--to", image, "--repo", second]);
    expect(Buffer.compare(await Bun.file(image).bytes(), BYTES)).toBe(0);
  });
});

describe("a project whose key", () => {
  let bench: Workbench;
  const keys = (project: string) => bench.path(`repository/projects/${project}/keys`);

  beforeAll(async () => {
    bench = newBench("keys");
    await bench.json(["init", "acme", "beta"], { env: sealed(bench) });
    await backUp(bench, "acme/db", sealed(bench));
    await backUp(bench, "beta/db", sealed(bench));
    cpSync(bench.path("repository"), bench.path("whole"), { recursive: true });
  });

  /** Whatever a test did to the repository is undone after it. */
  async function tampered(change: () => void, check: () => Promise<void>): Promise<void> {
    change();
    try {
      await check();
    } finally {
      rmSync(bench.path("repository"), { recursive: true });
      cpSync(bench.path("whole"), bench.path("repository"), { recursive: true });
    }
  }

  const commands: string[][] = [
    ["list", "acme"],
    ["verify", "acme", "--exists"],
    ["stats", "acme"],
    ["gc", "acme"],
    ["restore", "acme/db", "--to", "-"],
    ["init", "acme"],
  ];

  test("is gone is damaged, for every command, and gets no new one", async () => {
    await tampered(() => rmSync(keys("acme"), { recursive: true }), async () => {
      const runs = commands.map((words) => bench.run(words, { env: sealed(bench) }));
      for (const { code, stderr } of await Promise.all([...runs, backUp(bench, "acme/db", sealed(bench))])) {
        expect({ code, stderr }).toEqual({
          code: 3,
          stderr: expect.stringMatching(/its keys are missing from .*; restore them from a copy, or/),
        });
      }
      expect(existsSync(keys("acme"))).toBe(false);
      const all = await bench.run(["list"], { env: sealed(bench) });
      expect(all.code).toBe(3);
      expect(all.stdout).toContain("beta/db");
    });
  });

  test("is another project's is not opened, and never backed up under", async () => {
    const swap = () => {
      renameSync(keys("acme"), bench.path("aside"));
      cpSync(keys("beta"), keys("acme"), { recursive: true });
      rmSync(bench.path("aside"), { recursive: true });
    };
    await tampered(swap, async () => {
      for (
        const { code, stderr } of [
          await bench.run(["restore", "acme/db", "--to", "-"], { env: sealed(bench) }),
          await backUp(bench, "acme/db", sealed(bench)),
        ]
      ) {
        expect({ code, stderr }).toEqual({
          code: 3,
          stderr: expect.stringContaining('it is the key of project "beta", not of "acme"'),
        });
      }
    });
  });

  test("has another project's beside it is opened by its own, and the other is named", async () => {
    const plant = () => cpSync(keys("beta"), keys("acme"), { recursive: true });
    await tampered(plant, async () => {
      const { code, stderr } = await backUp(bench, "acme/new", sealed(bench));
      expect(code).toBe(0);
      expect(stderr).toContain('it is the key of project "beta", not of "acme"');
      await bench.json(["restore", "acme/new", "--to", bench.path("new.img")], { env: sealed(bench) });
      expect(Buffer.compare(await Bun.file(bench.path("new.img")).bytes(), BYTES)).toBe(0);
      expect((await bench.run(["verify", "acme"], { env: sealed(bench) })).code).toBe(3);
    });
  });

  test("has one that lies open beside it is opened by its own: nothing goes up under the other", async () => {
    const secret = new Uint8Array(32);
    const derived = deriveKeys(secret, "acme");
    const id = toHex(derived.id);
    const { repository } = decodeCheckedJson(readFileSync(bench.path("repository/varve.json")), "varve.json");
    const open = encodeCheckedJson({
      project: "acme",
      key: id,
      repository,
      repository_mac: toHex(repositoryMac(derived, repository as string)),
      holders: [{ kind: "none", secret: toHex(secret) }],
    });
    await tampered(() => writeFileSync(join(keys("acme"), id), open), async () => {
      const { code, stderr } = await backUp(bench, "acme/new", sealed(bench));
      expect(code).toBe(0);
      expect(stderr).toContain("it is stored unprotected beside a protected one");
      const [manifest] = readdirSync(bench.path("repository/projects/acme/volumes/new"));
      const bytes = await Bun.file(bench.path(`repository/projects/acme/volumes/new/${manifest}`)).bytes();
      expect(toHex(bytes.subarray(8, 16))).not.toBe(id);
      expect((await bench.run(["list", "acme"])).code).toBe(13);
    });
  });
});

describe("a project that this host knows as encrypted", () => {
  test("is not opened, nor backed up to, by a key that lies open in the place of its own", async () => {
    const bench = newBench("replaced");
    await bench.json(["init", "acme"], { env: sealed(bench) });
    await backUp(bench, "acme/db", sealed(bench));
    rmSync(bench.path("repository/projects/acme"), { recursive: true });
    const elsewhere = { XDG_STATE_HOME: bench.path("elsewhere") };
    await bench.json(["init", "acme", "--no-encryption"], { env: elsewhere });
    for (const run of [backUp(bench, "acme/db", sealed(bench)), bench.run(["list", "acme"])]) {
      const { code, stderr } = await run;
      expect({ code, stderr }).toEqual({
        code: 3,
        stderr: expect.stringContaining(
          "this host knows it as encrypted, but its key is not protected",
        ),
      });
    }
    const first = await backUp(bench, "acme/db", {
      ...sealed(bench),
      ...elsewhere,
      XDG_STATE_HOME: bench.path("third"),
    });
    expect(first.code).toBe(0);
    expect(first.stderr).toContain("is not encrypted, so the given secret protects nothing");
    // It is worth no line where nobody has named the project.
    const all = await bench.run(["verify"], {
      env: { ...sealed(bench), XDG_STATE_HOME: bench.path("fourth") },
    });
    expect({ code: all.code, stderr: all.stderr }).toEqual({ code: 0, stderr: "" });
    // But where it is made anew, on purpose, it is another one.
    rmSync(bench.path("repository/projects/acme"), { recursive: true });
    const refused = await bench.run(["init", "acme", "--no-encryption"]);
    expect(refused.code).toBe(3);
    rmSync(/remove "([^"]+)"/.exec(refused.stderr)![1]!, { recursive: true });
    expect((await bench.run(["init", "acme", "--no-encryption"])).code).toBe(0);
    expect((await backUp(bench, "acme/new")).code).toBe(0);
  });
});

describe("several secrets", () => {
  test("open each what they fit", async () => {
    const bench = newBench("several");
    const [sesame, other] = ["sesame", "other"].map((name) => bench.path(name)) as [string, string];
    await bench.json(["init", "acme", "--passphrase-file", sesame]);
    await bench.json(["init", "beta", "--passphrase-file", other]);
    for (const volume of ["acme/db", "beta/db"]) {
      const words = ["backup", volume, "--format", "raw", bench.path("disk.img")];
      await bench.json([...words, "--passphrase-file", other, "--passphrase-file", sesame]);
    }
    const one = await bench.run(["list", "--passphrase-file", other]);
    expect(one.code).toBe(13);
    expect(one.stdout).toContain("beta/db");
    const both = await bench.run(["list", "--passphrase-file", other, "--passphrase-file", sesame]);
    expect(both.code).toBe(0);
    expect(both.stdout).toMatch(/^acme\/db, .*\n.*\nbeta\/db, /m);
  });
});
