/**
 * The built program and documents that somebody has forged who can read and write the store of a project without
 * encryption: what cannot be is refused in a line, what is shown steers no terminal, and nothing takes memory without bounds.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openFront } from "../../src/codec/seal.ts";
import { openProject } from "../../src/project/open_project.ts";
import type { Project } from "../../src/project/project.ts";
import { openRepository } from "../../src/project/repository.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { encodeCheckedJson } from "../../src/format/checked_json.ts";
import * as layout from "../../src/format/layout.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import { DirectoryStore } from "../../src/store/directory/directory.ts";
import { testContext } from "../kit/engine.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { Terminal } from "../kit/terminal.ts";
import { startVarve } from "../kit/varve.ts";
import { peakOf } from "../kit/peak_memory.ts";
import { fullStream } from "../kit/rbd_stream.ts";

const HOSTILE = "a\u001b[2Jb\u009bc\u202ed\u2066e";
const VOLUME = { project: "acme", volume: "vm" };
const OLDER = noise(3 * CHUNK_BYTES, 1);

/** Any control but tab and newline. */
const STEERING = /(?![\t\n])[\p{Cc}\p{Cf}]/u;

setDefaultTimeout(RUN_LIMIT_MS);

let whole: TestRepository;
let ids: string[];
/** A copy of the repository, new for each test. */
let copy: string;
let project: Project;
let count = 0;

beforeAll(async () => {
  whole = await TestRepository.make();
  await whole.json(["backup", "acme/vm"], { stdin: fullStream(OLDER, "s1") });
  await whole.json(["backup", "acme/vm"], { stdin: fullStream(noise(3 * CHUNK_BYTES, 2), "s2") });
  ids = readdirSync(join(whole.url, "projects/acme/volumes/vm")).toSorted();
});
beforeEach(async () => {
  copy = whole.path(`copy-${count++}`);
  cpSync(whole.url, copy, { recursive: true });
  const repository = await openRepository(new DirectoryStore(copy), testContext());
  project = await openProject(repository, { name: "acme", secrets: [] }, testContext());
});
afterAll(() => whole.remove());

async function run(...args: string[]) {
  const env = { VARVE_REPO: copy, XDG_CACHE_HOME: whole.path(`cache-${count}`) };
  return await whole.run(args, { env });
}

async function backUp() {
  const env = { VARVE_REPO: copy, XDG_CACHE_HOME: whole.path(`cache-${count}`) };
  return await whole.run(["backup", "acme/vm"], { env, stdin: fullStream(OLDER, "s3") });
}

/** Seals the manifest of the newest point anew, with these fields in its info. */
async function forge(fields: Record<string, unknown>): Promise<string> {
  const object = { type: OBJECT_TYPE.manifest, name: layout.manifestName(VOLUME.volume, ids[1]!) };
  const { bytes, content, keys } = await project.read(object, {});
  const info = JSON.parse(fromUtf8(openFront(bytes, { ...object, key: "k" }, keys))!);
  const front = utf8(JSON.stringify({ ...info, ...fields }));
  await project.write({ ...object, front, content }, { keys });
  return project.objectKey(object.name);
}

describe("a forged manifest", () => {
  test.each<[string, Record<string, unknown>]>([
    ["of chunks of no bytes", { chunk_bytes: 0 }],
    ["of chunks of a byte", { chunk_bytes: 1 }],
    ["of chunks of another size", { chunk_bytes: 2 * CHUNK_BYTES }],
    ["of a size that is no number", { size_bytes: "x" }],
    ["of a size that no volume has", { size_bytes: 1e300 }],
    ["of pages of another size", { page_chunks: 1 }],
    ["with tags that are no list", { tags: 5 }],
    ["with a snapshot that has no name", { to_snapshot: 5 }],
    ["of another project", { project: "beta" }],
    ["with a time that is none", { time: "soon" }],
    ["with counts that are none", { chunks: { total: "x" } }],
  ])("%s is damage, in every command", async (_, fields) => {
    const key = await forge(fields);
    const target = whole.path(`restored-${count}`);
    const restored = await run("restore", `acme/vm@${ids[1]}`, "--to", target);
    expectOneLine(restored, { code: 3, line: `Cannot read "${key}": it` });
    expect(readdirSync(dirname(target))).not.toContain(`restored-${count}`);
    for (
      const args of [["list"], ["verify"], ["stats"], ["show", `acme/vm@${ids[1]}`], [
        "forget",
        "acme",
        "--keep-last",
        "1",
      ]]
    ) {
      const { code, stdout, stderr } = await run(...args);
      expect({ args, code }).toEqual({ args, code: 3 });
      expect(stdout + stderr).toContain(args[0] === "stats" ? "1 manifest cannot be read" : ids[1]!);
      expect(stdout + stderr).not.toMatch(/undefined|NaN|TypeError|is not a function/);
    }
    // The other point is what it was, and backups go on.
    expect((await run("restore", `acme/vm@${ids[0]}`, "--to", target)).code).toBe(0);
    expect(Buffer.compare(readFileSync(target), OLDER)).toBe(0);
    expect((await backUp()).code).toBe(0);
  });

  test("of every point, since varve.json has another chunk size, keeps backups from going on in that size", async () => {
    const fields = { repository: project.repositoryId, chunk_bytes: 2 * CHUNK_BYTES };
    writeFileSync(join(copy, "varve.json"), encodeCheckedJson(fields));
    const sizes = `its chunk size is ${CHUNK_BYTES} bytes, that of the repository ${2 * CHUNK_BYTES}`;
    const { code, stderr } = await backUp();
    expect(code).toBe(3);
    expect(stderr.trim().split("\n").at(-1)).toMatch(
      new RegExp(`^varve: Cannot read ".*": ${sizes}; restore the original varve.json$`),
    );
    expect(readdirSync(join(copy, "projects/acme/volumes/vm")).toSorted()).toEqual(ids);
  });

  test("steers no terminal by what it says", async () => {
    await forge({ host: HOSTILE, tags: [HOSTILE, "x\ny"], to_snapshot: HOSTILE });
    const commands = [
      ["list"],
      ["list", "--json"],
      ["show", "acme/vm"],
      ["show", "acme/vm", "--json"],
      ["show", "acme/vm", "--field", "host"],
      ["show", "acme/vm", "--field", "tags"],
      ["restore", "acme/vm@snap:none", "--to", whole.path("none")],
    ];
    for (const args of commands) {
      const { stdout, stderr } = await run(...args);
      expect({ args, text: stdout + stderr }).toEqual({
        args,
        text: expect.not.stringMatching(STEERING),
      });
    }
    const { stdout } = await run("show", "acme/vm", "--field", "host");
    expect(stdout).toBe("a\\x1b[2Jb\\x9bc\\u202ed\\u2066e\n");
    expect((await run("list")).stdout.trim().split("\n").length).toBe(1 + 1 + 2);
  });
});

test("a snapshot's name is shown as it is to a script, and steers no terminal", async () => {
  await forge({ to_snapshot: HOSTILE });
  const env = { VARVE_REPO: copy, XDG_CACHE_HOME: whole.path("terminal") };
  expect((await run("show", "acme/vm", "--field", "to_snapshot")).stdout).toBe(`${HOSTILE}\n`);
  const terminal = new Terminal("varve show acme/vm --field to_snapshot", env);
  expect(await terminal.ended()).toEqual([0]);
  expect(terminal.output).toStartWith("a\\x1b[2Jb\\x9bc\\u202ed\\u2066e\r\n");
});

test("a hold and a lease steer no terminal by what they say", async () => {
  const keys = project.firstKey;
  const about = {
    state: "running",
    work: "backup",
    volume: HOSTILE,
    host: `${HOSTILE}\nvarve: done`,
    pid: 1,
    started_ms: 5,
  };
  await project.write({
    type: OBJECT_TYPE.lease,
    name: `leases/${"5e".repeat(16)}`,
    content: utf8(JSON.stringify(about)),
  }, { keys });
  const hold = { type: OBJECT_TYPE.hold, name: layout.holdName("vm", ids[1]!) };
  await project.write({ ...hold, content: utf8(JSON.stringify({ reason: `${HOSTILE}\nx  y`, host: "h" })) }, {
    keys,
  });
  rmSync(join(copy, "projects/acme/volumes/vm", ids[0]!));
  for (
    const args of [["show", `acme/vm@${ids[1]}`], ["gc", "acme", "--dry-run", "--force"]]
  ) {
    const { stdout, stderr } = await run(...args);
    expect(stdout + stderr).toContain("a\\x1b[2Jb\\x9bc\\u202e");
    expect(stdout + stderr).not.toMatch(STEERING);
    expect(stdout + stderr).not.toMatch(/^varve: done|^x {2}y/m);
  }
});

test("objects of 3 GiB of every kind take no memory", async () => {
  const lease = "5e".repeat(16);
  const names = [
    `leases/${lease}`,
    `gc/${lease}/head`,
    `gc/${lease}/all`,
    `gc/${lease}/end`,
    `forgotten/${lease}`,
    layout.holdName("vm", ids[1]!),
    layout.manifestName("vm", ids[1]!),
    `keys/${"5e".repeat(8)}`,
    `marked/5e/${"5e".repeat(32)}`,
    `chunks/5e/${"5e".repeat(32)}`,
  ];
  for (const name of names) {
    const file = join(copy, "projects/acme", name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, "");
    truncateSync(file, 3 * 2 ** 30);
  }
  const env = { VARVE_REPO: copy, XDG_CACHE_HOME: whole.path("memory") };
  const other = whole.path("other");
  await whole.run(["init"], { env: { VARVE_REPO: other } });
  const commands = [
    ["list"],
    ["verify"],
    ["stats"],
    ["gc", "acme"],
    ["forget", "acme", "--keep-last", "1"],
    ["hold", `acme/vm@${ids[0]}`],
    ["repair", "acme"],
    ["copy", "acme", "--to", other],
  ];
  for (const args of commands) {
    const child = startVarve(args, { env });
    let peakKib = 0;
    for (; child.exitCode === null; await Bun.sleep(1)) peakKib = Math.max(peakKib, peakOf(child.pid));
    expect({ args, isBounded: peakKib < 300 * 1024, peakKib }).toEqual({ args, isBounded: true, peakKib });
    const text = await new Response(child.stderr).text();
    expect({ args, text }).toEqual({
      args,
      text: expect.not.stringMatching(/undefined|TypeError|RangeError/),
    });
  }
});
