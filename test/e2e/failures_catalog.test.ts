/** The built program and a catalogue in which something is damaged, strange or not given: all the rest works. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { BackupInfo } from "../../src/project/catalog.ts";
import { openRepository } from "../../src/project/repository.ts";
import { DirectoryStore } from "../../src/store/directory/directory.ts";
import { flipBit } from "../kit/damage.ts";
import { backUp as backUpInProcess, testContext } from "../kit/engine.ts";
import { data } from "../kit/memory_source.ts";
import { startMinio } from "../kit/minio.ts";
import { describeWith } from "../kit/parts.ts";
import { encodeDiff, fullStream } from "../kit/rbd_stream.ts";
import { CHUNK_BYTES, lastLineText, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { awsEnv, rootClient } from "../kit/s3_server.ts";
import { startVarve, type VarveResult } from "../kit/varve.ts";
import { peakOf } from "../kit/peak_memory.ts";

const SIZE_BYTES = 4 * CHUNK_BYTES;
const VOLUME = "acme/vm";
/** What the volume held at each snapshot. */
const CONTENT: Record<string, Buffer> = {};
const SNAPSHOTS = ["monday", "tuesday", "wednesday"];

setDefaultTimeout(RUN_LIMIT_MS);

let whole: TestRepository;
/** A copy of the repository, new for each test. */
let copy: string;
let ids: string[];

/** What changed from one snapshot to the next: the chunk at its number. */
function increment(from: string, to: string): Uint8Array {
  const at = SNAPSHOTS.indexOf(to);
  const write = noise(CHUNK_BYTES, to);
  CONTENT[to] = Buffer.from(CONTENT[from]!);
  CONTENT[to].set(write, at * CHUNK_BYTES);
  const records = [{ tag: "f", name: from }, { tag: "t", name: to }, {
    tag: "s",
    sizeBytes: SIZE_BYTES,
  }] as const;
  return encodeDiff([...records, { tag: "w", offset: at * CHUNK_BYTES, data: write }, { tag: "e" }]);
}

/** Nothing changed since. */
function nothing(from: string, to: string): Uint8Array {
  CONTENT[to] = CONTENT[from]!;
  const names = [{ tag: "f", name: from }, { tag: "t", name: to }] as const;
  return encodeDiff([...names, { tag: "s", sizeBytes: SIZE_BYTES }, { tag: "e" }]);
}

beforeAll(async () => {
  whole = await TestRepository.make({ projects: ["acme", "beta"] });
  CONTENT.monday = Buffer.from(noise(SIZE_BYTES, "monday"));
  await whole.json(["backup", VOLUME], { stdin: fullStream(CONTENT.monday, "monday") });
  await whole.json(["backup", VOLUME], { stdin: increment("monday", "tuesday") });
  await whole.json(["backup", VOLUME], { stdin: increment("tuesday", "wednesday") });
  await whole.json(["backup", "beta/vm"], { stdin: fullStream(noise(CHUNK_BYTES, "beta")) });
  ids = readdirSync(join(whole.url, "projects/acme/volumes/vm")).toSorted();
});
afterAll(() => whole.remove());
beforeEach(() => {
  copy = whole.path("copy");
  rmSync(copy, { recursive: true, force: true });
  rmSync(whole.path("memory"), { recursive: true, force: true });
  cpSync(whole.url, copy, { recursive: true });
});

const run = (args: readonly string[], stdin?: Uint8Array) =>
  whole.run(args, {
    env: {
      VARVE_REPO: copy,
      XDG_CACHE_HOME: whole.path("memory"),
      XDG_STATE_HOME: whole.path("memory/state"),
    },
    stdin,
  });
const manifest = (at: number) => join(copy, "projects/acme/volumes/vm", ids[at]!);

function put(name: string, bytes: string | Uint8Array = "x"): void {
  const file = join(copy, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
}

function flip(file: string): void {
  const bytes = readFileSync(file);
  writeFileSync(file, flipBit(bytes, bytes.length * 4));
}

async function list(...args: string[]): Promise<{ code: number | null; ids: string[]; stderr: string }> {
  const { code, stdout, stderr } = await run(["list", "--json", ...args]);
  return { code, ids: (JSON.parse(stdout) as BackupInfo[]).map(({ backup }) => backup), stderr };
}

/** Restores the point, and compares it with what the volume held at the snapshot; the run. */
async function restore(point: string, snapshot: string): Promise<VarveResult> {
  const to = whole.path("restored.img");
  rmSync(to, { force: true });
  const result = await run(["restore", `${VOLUME}@${point}`, "--to", to]);
  expect({ point, same: readFileSync(to).equals(CONTENT[snapshot]!), stderr: result.stderr }).toEqual({
    point,
    same: true,
    stderr: result.stderr,
  });
  return result;
}

async function backUp(stdin: Uint8Array): Promise<BackupReport> {
  const { code, stdout, stderr } = await run(["backup", VOLUME, "--json"], stdin);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
  return JSON.parse(stdout) as BackupReport;
}

/** One line names the object, the last one says what it means for the exit code. */
function expectDamage({ code, stderr }: { code: number | null; stderr: string }, ...names: string[]): void {
  const lines = names.map((name) => expect.stringMatching(new RegExp(`^damaged: .*${name}.*`)));
  const last = expect.stringMatching(
    /^varve: Cannot read all of ".*": \d+ objects? named above cannot be read/,
  );
  // What this host had noted under a key that cannot be read any more is a line of the log.
  const said = lastLineText({ code, stderr }).split("\n").filter((line) =>
    !line.includes("which cannot be used")
  );
  expect({ code, lines: said }).toEqual({
    code: 3,
    lines: [...lines, last, ""],
  });
}

describe("varve beside a damaged manifest in the middle", () => {
  beforeEach(() => flip(manifest(1)));

  test("lists, shows, holds, restores and continues all the others", async () => {
    const listed = await list("acme/vm");
    expect(listed.ids).toEqual([ids[0]!, ids[2]!]);
    expectDamage(listed, ids[1]!);
    const table = await run(["list"]);
    expect(table.stdout.split("\n").length).toBe(1 + (1 + 2) + (1 + 1) + 1);
    expectDamage(table, ids[1]!);
    for (const point of ["latest", "wednesday", ids[0]!]) {
      expect(await run(["show", `${VOLUME}@${point}`])).toMatchObject({ code: 0, stderr: "" });
    }
    expect(await restore("latest", "wednesday")).toMatchObject({ code: 0, stderr: "" });
    expect(await restore("2099-01-01", "wednesday")).toMatchObject({ code: 0, stderr: "" });
    expect((await run(["hold", `${VOLUME}@wednesday`])).code).toBe(0);
    await backUp(nothing("wednesday", "thursday"));
    expect(await restore("latest", "thursday")).toMatchObject({ code: 0, stderr: "" });
  });

  test("says so where the damaged one may be meant", async () => {
    expectDamage(await restore("monday", "monday"), ids[1]!);
    expectDamage(await restore("~1", "monday").then(({ code, stderr }) => ({ code, stderr })), ids[1]!);
    const missing = await run(["show", `${VOLUME}@tuesday`]);
    expect(missing).toMatchObject({ code: 3, stdout: "" });
    expect(missing.stderr).toMatch(
      /^varve: Cannot find .*; 1 of its restore points cannot be read: Cannot read .*\n$/,
    );
  });
});

describe("varve beside a damaged newest manifest", () => {
  test.each([
    ["a bit was changed", flip],
    ["its version was changed", (file: string) => writeFileSync(file, flipBit(readFileSync(file), 5 * 8))],
    ["it is empty", (file: string) => truncateSync(file, 0)],
    ["it is garbage", (file: string) => writeFileSync(file, "garbage")],
    [
      "it is a sparse file of 3 GiB",
      (file: string) => (truncateSync(file, 0), truncateSync(file, 3 * 2 ** 30)),
    ],
  ])("takes the newest that can be read for the latest, and says so, when %s", async (_, damage) => {
    damage(manifest(2));
    const restored = await restore("latest", "tuesday");
    expectDamage(restored, ids[2]!);
    expect(restored.stderr).toEndWith(`; "${VOLUME}@${ids[1]}" was restored\n`);
    const listed = await list();
    expect(listed.ids.length).toBe(3);
    expectDamage(listed, ids[2]!);
  });

  test("takes no memory for what no manifest can have", async () => {
    truncateSync(manifest(2), 0);
    truncateSync(manifest(2), 3 * 2 ** 30);
    const env = {
      ...whole.env,
      VARVE_REPO: copy,
      XDG_CACHE_HOME: whole.path("memory"),
      XDG_STATE_HOME: whole.path("memory/state"),
    };
    const child = startVarve(["restore", `${VOLUME}@${ids[2]}`, "--to", whole.path("restored.img")], { env });
    let peakKib = 0;
    for (; child.exitCode === null; await Bun.sleep(1)) peakKib = Math.max(peakKib, peakOf(child.pid));
    expect(child.exitCode).toBe(3);
    expect(peakKib).toBeLessThan(300 * 1024);
  });

  test.each(["99991231T235959999Z-00000000", "21990101T000000000Z-00000000"])(
    "dates increments and full backups by the store's clock beside garbage called %s",
    async (name) => {
      put(`projects/acme/volumes/vm/${name}`, "garbage");
      const year = String(new Date().getUTCFullYear());
      const one = await backUp(nothing("wednesday", "thursday"));
      const other = await backUp(fullStream(CONTENT.monday!, "friday"));
      expect([one.backup.slice(0, 4), other.backup.slice(0, 4)]).toEqual([year, year]);
      const listed = await list("acme");
      expect(listed.ids).toEqual([...ids, one.backup, other.backup]);
      expectDamage(listed, name);
      expect((await run(["gc", "acme"])).code).not.toBe(0); // it does not know what the garbage refers to
      expectDamage(await restore("latest", "monday"), name);
    },
  );
});

describe("varve beside what is no part of a project", () => {
  test("is hindered by no stray file, in no command", async () => {
    for (const folder of ["keys", "volumes", "volumes/vm", "holds", "chunks", "chunks/00", "gc", "."]) {
      for (const name of [".DS_Store", "note.txt"]) put(join("projects/acme", folder, name));
    }
    put("projects/.DS_Store");
    put(".DS_Store");
    const quiet = { code: 0, stderr: "" };
    expect(await list()).toMatchObject({ ...quiet, ids: { length: 4 } });
    expect(await run(["show", VOLUME])).toMatchObject(quiet);
    expect(await restore("tuesday", "tuesday")).toMatchObject(quiet);
    await backUp(nothing("wednesday", "thursday"));
    expect((await run(["hold", `${VOLUME}@thursday`])).code).toBe(0);
    for (const args of [["stats"], ["verify", "--exists"], ["gc"]]) {
      expect(await run(args)).toMatchObject(quiet);
    }
  });

  test("passes over a folder that no project can be called like, with a word", async () => {
    put("projects/a b/keys/k");
    for (const args of [["list"], ["stats"], ["verify", "--exists"], ["gc", "--dry-run"]]) {
      const { code, stdout, stderr } = await run(args);
      expect({ args, code, stdout: stdout.includes("acme") }).toEqual({ args, code: 0, stdout: true });
      expect(stderr).toContain("is skipped: it is not a valid project name");
    }
  });
});

describe("varve beside a damaged key", () => {
  test("loses only what that key has sealed", async () => {
    // As if two hosts had made the project at the same moment.
    const acme = join(copy, "projects/acme");
    renameSync(acme, join(copy, "aside"));
    await run(["init", "acme", "--no-encryption"]);
    await run(["backup", "acme/other"], fullStream(noise(CHUNK_BYTES, "other")));
    const [key] = readdirSync(join(acme, "keys")) as [string];
    const [point] = readdirSync(join(acme, "volumes/other")) as [string];
    cpSync(join(copy, "aside"), acme, { recursive: true });
    rmSync(join(copy, "aside"), { recursive: true });
    expect(await list()).toMatchObject({ code: 0, ids: { length: 5 } });
    flip(join(acme, "keys", key));
    const listed = await list();
    expect(listed.ids).toEqual([...ids, expect.any(String)]);
    expectDamage(listed, key, point);
    expectDamage(await restore("latest", "wednesday"), key);
    await backUp(nothing("wednesday", "thursday"));
    expectDamage(await restore("thursday", "thursday"), key);
  });

  test("lists the other projects when it is the only one", async () => {
    const folder = join(copy, "projects/acme/keys");
    const [key] = readdirSync(folder) as [string];
    flip(join(folder, key));
    const listed = await list();
    expect(listed).toMatchObject({ code: 3, ids: { length: 1 } });
    expect(lastLineText(listed)).toMatch(
      new RegExp(`^skipped: acme: .*${key}.*\\nvarve: Cannot process all projects of [^\\n]+\\n$`),
    );
    expect((await run(["backup", VOLUME], nothing("wednesday", "x"))).code).toBe(3);
    expect(readdirSync(folder)).toEqual([key]);
  });
});

test("varve shows a point whose hold is damaged, as held", async () => {
  await run(["hold", `${VOLUME}@tuesday`, "--reason", "case 4711"]);
  put(`projects/acme/holds/vm/${ids[1]}`, "garbage");
  const shown = await run(["show", `${VOLUME}@tuesday`, "--json"]);
  expect(JSON.parse(shown.stdout)).toMatchObject({ backup: ids[1], held: true, hold_reason: null });
  expectDamage(shown, `holds/vm/${ids[1]}`);
  expect(await run(["list"])).toMatchObject({ code: 0, stdout: expect.stringMatching(/HELD tuesday$/m) });
});

test("varve finds a snapshot that is called like something else", async () => {
  await backUp(fullStream(CONTENT.monday!, "latest"));
  await backUp(fullStream(CONTENT.tuesday!, "~1"));
  await backUp(fullStream(CONTENT.wednesday!, "2020-01-01"));
  expect((await restore("snap:latest", "monday")).code).toBe(0);
  expect((await restore("snap:~1", "tuesday")).code).toBe(0);
  expect((await restore("snap:2020-01-01", "wednesday")).code).toBe(0);
  expect((await run(["show", `${VOLUME}@time:2020-01-01`])).stderr).toContain("no restore point is that old");
  expect((await restore(`id:${ids[0]}`, "monday")).code).toBe(0);
});

test("varve goes on rightly after the clock of the store was in 2030 for one backup", async () => {
  const wrong = await backUpIn2030("thursday");
  const next = await run(["backup", VOLUME, "--json"], increment("monday", "tuesday"));
  const { backup } = JSON.parse(next.stdout) as BackupReport;
  expect({ wrong: wrong.slice(0, 4), right: backup.slice(0, 4) }).toEqual({
    wrong: "2030",
    right: String(new Date().getUTCFullYear()),
  });
  expect(next.stderr).toContain(
    `vm@${wrong}\\" is dated in the future by the store's clock; it is ignored in the order`,
  );
  expect((await restore("latest", "tuesday")).code).toBe(0);
  expect((await restore("~1", "wednesday")).code).toBe(0);
  expect((await restore("2029-12-31", "tuesday")).code).toBe(0);
  expect((await run(["forget", `${VOLUME}@${wrong}`])).code).toBe(0);
  const last = await run(["backup", VOLUME, "--json"], fullStream(CONTENT.monday!, "friday"));
  expect(last).toMatchObject({ code: 0, stderr: "" });
  expect((await restore("~1", "tuesday")).code).toBe(0);
});

/** Nothing outside can set the clock of a file system: the engine is given a store whose clock is ahead. */
async function backUpIn2030(snapshot: string): Promise<string> {
  class Ahead extends DirectoryStore {
    override async head(...args: Parameters<DirectoryStore["head"]>) {
      const info = await super.head(...args);
      return info && { ...info, modifiedMs: Date.UTC(2030, 0, 1) };
    }
  }
  const repository = await openRepository(new Ahead(copy), testContext());
  const diff = { to: snapshot, sizeBytes: SIZE_BYTES, extents: [data(0, noise(SIZE_BYTES, "2030"))] };
  const [report] = await backUpInProcess(repository, [diff], { volume: "vm" });
  return report!.backup;
}

describeWith(["MinIO"], "varve beside the markers that browsers of S3 make", () => {
  test("works in every command", async () => {
    const minio = await startMinio();
    const url = `s3://${minio.bucket}/repository`;
    const repository = await TestRepository.make({ url, env: awsEnv(minio) });
    try {
      await repository.backUp(VOLUME, CONTENT.monday!, { snapshot: "monday" });
      const client = rootClient(minio);
      const folders = [
        "",
        "keys/",
        "volumes/",
        "volumes/vm/",
        "holds/",
        "chunks/",
        "chunks/00/",
        "leases/",
        "gc/",
      ];
      for (const folder of folders) {
        const Key = `repository/projects/acme/${folder}`;
        await client.send(new PutObjectCommand({ Bucket: minio.bucket, Key, Body: new Uint8Array(0) }));
      }
      await client.send(
        new PutObjectCommand({ Bucket: minio.bucket, Key: "repository/projects/", Body: new Uint8Array(0) }),
      );
      await repository.backUp(VOLUME, CONTENT.tuesday!, { snapshot: "tuesday" });
      await repository.expectIntact();
      const commands = [["list"], ["show", VOLUME], ["hold", `${VOLUME}@monday`], ["gc"], ["verify"], [
        "stats",
      ]];
      for (const args of commands) expect(await repository.run(args)).toMatchObject({ code: 0 });
    } finally {
      await repository.remove();
      await minio.stop();
    }
  });
});
