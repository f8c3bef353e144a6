/** The folder of what a host must not forget: nothing outside it is read, written or removed, and what is wrong with it is said. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { dirname } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { CHUNK_BYTES, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { mountTmpfs, unmount } from "../kit/mounts.ts";

setDefaultTimeout(RUN_LIMIT_MS);

/** Of a run that only warns: none comes near, unless it waits for something. */
const SOON_MS = 20_000;

const isRoot = process.geteuid?.() === 0;

let repository: TestRepository;
let point: string;
/** The repository's part of the state folder. */
let state: string;
let victim: string;

beforeEach(async () => {
  repository = await TestRepository.make();
  point = (await backUp("acme/db", 1)).backup;
  const root = repository.path("state/varve");
  state = `${root}/${fs.readdirSync(root)[0]}`;
  victim = repository.path("victim");
  fs.mkdirSync(`${victim}/acme/important`, { recursive: true });
});
afterEach(() => repository.remove());

async function backUp(volume: string, seed: number) {
  const stdin = noise(CHUNK_BYTES, seed);
  return await repository.json<BackupReport>(["backup", volume, "--format", "raw", "-"], { stdin });
}

const newest = () => `${state}/acme/volumes/db/.newest`;

function replace(path: string, make: (path: string) => void): void {
  fs.rmSync(path, { recursive: true });
  make(path);
}

/** The exit code, and the lines on standard error that tell that a loss may go unnoticed. */
async function run(args: string[]) {
  const began = performance.now();
  const { code, stderr } = await repository.run([...args, "--log-format", "json"]);
  expect(performance.now() - began).toBeLessThan(SOON_MS);
  return { code, lines: linesOf(stderr), stderr };
}

function linesOf(stderr: string): string[] {
  const lines = stderr.split("\n").filter((line) => line.startsWith("{"));
  const texts = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
  return texts.filter((text) => text.endsWith("; a restore point that is lost may go unnoticed"));
}

const fifo = (path: string) => void Bun.spawnSync(["mkfifo", path]);
const link = (to: string) => (path: string) => fs.symlinkSync(to, path);

const PLANTED: [name: string, path: () => string, make: (path: string) => void, said: string][] = [
  [
    "a named pipe for a note",
    newest,
    fifo,
    '".newest" is a named pipe, which varve never creates; remove it',
  ],
  ["a device for a note", newest, link("/dev/zero"), '".newest" is a link, which varve does not follow'],
  ["a named pipe for the encryption", () => `${state}/acme/encryption`, fifo, '"encryption" is a named pipe'],
  [
    "a link for the encryption",
    () => `${state}/acme/encryption`,
    link("/dev/zero"),
    '"encryption" is a link',
  ],
  [
    "a link for a volume",
    () => `${state}/acme/volumes/db`,
    link("/usr"),
    '"db" is a link, which varve does not follow',
  ],
  [
    "a file for the volumes",
    () => `${state}/acme/volumes`,
    (path) => fs.writeFileSync(path, ""),
    "not a directory (ENOTDIR)",
  ],
  [
    "a link for the volumes",
    () => `${state}/acme/volumes`,
    link("/usr"),
    '"volumes" is a link, which varve does not follow',
  ],
  [
    "a link for the project",
    () => `${state}/acme`,
    link("/usr"),
    '"acme" is a link, which varve does not follow',
  ],
  ["a link for the repository", () => state, link("/usr"), "is a link, which varve does not follow"],
];

test.each(PLANTED)(
  "%s is neither followed nor replaced, and said in each run",
  async (_, path, make, said) => {
    replace(path(), make);
    const before = fs.lstatSync(path()).ino;
    for (
      const args of [["list", "acme"], ["verify", "acme"], ["verify", "acme"], [
        "restore",
        "acme/db",
        "--to",
        "-",
      ]]
    ) {
      const { code, lines } = await run(args);
      expect({ args, code, lines: lines.length }).toEqual({ args, code: 0, lines: 1 });
      expect(lines[0]).toContain(said);
    }
    await backUp("acme/db", 2);
    expect(fs.lstatSync(path()).ino).toBe(before);
  },
);

test("links that lead round in a circle are not walked", async () => {
  fs.symlinkSync(".", `${state}/acme/volumes/loop`);
  fs.symlinkSync("../..", `${state}/acme/volumes/up`);
  const { code, lines } = await run(["verify", "acme"]);
  expect({ code, lines: lines.length }).toEqual({ code: 0, lines: 1 });
});

test("a link in the place of one volume's folder hides no loss of another volume", async () => {
  fs.symlinkSync("/usr", `${state}/acme/volumes/aa`);
  fs.rmSync(`${repository.url}/projects/acme/volumes/db`, { recursive: true });
  const { code, lines, stderr } = await run(["verify", "acme"]);
  expect({ code, lines: lines.length }).toEqual({ code: 3, lines: 1 });
  expect(stderr).toContain(`acme/db@${point}`);
});

test("nothing is removed or written behind a link", async () => {
  replace(state, link(victim));
  const erased = await run(["erase", "acme", "--yes-erase", "acme"]);
  expect(erased.stderr).toContain("is a link, which varve does not follow");
  expect(fs.readdirSync(`${victim}/acme`)).toEqual(["important"]);
});

test("an erasure that cannot erase what this host keeps fails, and goes on once that is mended", async () => {
  replace(state, link(victim));
  expect((await run(["erase", "acme", "--yes-erase", "acme"])).code).toBe(1);
  fs.rmSync(state);
  expect((await run(["erase", "acme", "--yes-erase", "acme"])).code).toBe(0);
  expect(fs.readdirSync(`${victim}/acme`)).toEqual(["important"]);
});

test("a folder that others can write to is not used", async () => {
  const root = dirname(state);
  for (const path of [root, state]) {
    fs.chmodSync(path, 0o777);
    const { code, lines } = await run(["verify", "acme"]);
    expect({ code, lines: lines.length }).toEqual({ code: 0, lines: 1 });
    expect(lines[0]).toContain(
      "is not used: other users can write to it (mode 0777) and may have; remove it",
    );
    fs.chmodSync(path, 0o700);
  }
  expect((await run(["verify", "acme"])).lines).toEqual([]);
});

test.skipIf(!isRoot)("another user's folder is not used", async () => {
  const root = dirname(state);
  for (const path of [root, state]) {
    fs.chownSync(path, 65534, 65534);
    const { code, lines } = await run(["verify", "acme"]);
    expect({ code, lines: lines.length }).toEqual({ code: 0, lines: 1 });
    expect(lines[0]).toContain("is not used: it belongs to another user (uid 65534); change its owner");
    fs.chownSync(path, 0, 0);
  }
});

test.skipIf(!isRoot)("a folder that is full is said", async () => {
  const root = repository.path("state/varve");
  fs.rmSync(root, { recursive: true });
  mountTmpfs(root, ["size=4096"]);
  fs.chmodSync(root, 0o700);
  try {
    const args = ["backup", "acme/db", "--format", "raw", "-"];
    const { code, stderr } = await repository.run([...args, "--log-format", "json"], {
      stdin: noise(CHUNK_BYTES, 3),
    });
    expect(code).toBe(0);
    expect(linesOf(stderr)).toEqual([expect.stringContaining("no space left on the device (ENOSPC); ")]);
  } finally {
    unmount(root);
  }
});

test("a folder that cannot be made is said", async () => {
  fs.writeFileSync(repository.path("file"), "");
  const env = { XDG_STATE_HOME: repository.path("file") };
  const { code, stderr } = await repository.run(["list", "acme", "--log-format", "json"], { env });
  expect(code).toBe(0);
  const state = `the state in "${repository.path("file/varve")}" is not used: not a directory`;
  expect(linesOf(stderr)).toEqual([expect.stringContaining(state)]);
});
