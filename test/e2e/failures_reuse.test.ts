/** The built program and a repository that lost things: what a backup reuses is there, or goes up again. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import { flipBit } from "../kit/damage.ts";
import { encodeDiff, fullStream } from "../kit/rbd_stream.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS, TestRepository } from "../kit/repository.ts";
import { varveBytes } from "../kit/varve.ts";
import { filesBelow } from "../kit/files_below.ts";

const CHUNKS = 14;
const CONTENT = Buffer.from(noise(CHUNKS * CHUNK_BYTES, "content"));
const VOLUME = "acme/db";
/** The type's place in an object's header (docs/format.md). */
const TYPE_AT = 6;

setDefaultTimeout(RUN_LIMIT_MS);

let repository: TestRepository;
beforeEach(async () => {
  repository = await TestRepository.make();
  await repository.json(["backup", VOLUME], { stdin: fullStream(CONTENT, "monday") });
});
afterEach(() => repository.remove());

function objects(type: number): string[] {
  const files = filesBelow(join(repository.url, "projects/acme/chunks"));
  return files.filter((file) => readFileSync(file)[TYPE_AT] === type);
}

const chunks = () => objects(OBJECT_TYPE.chunk);
const pages = () => objects(OBJECT_TYPE.page);
const otherHost = () => ({
  XDG_CACHE_HOME: repository.path("other-host"),
  XDG_STATE_HOME: repository.path("other-host/state"),
});

async function expectWhole(point: string, content: Uint8Array): Promise<void> {
  const { code, bytes } = await varveBytes(["restore", `${VOLUME}@${point}`, "--to", "-"], {
    env: repository.env,
  });
  expect({ point, code, same: Buffer.from(bytes).equals(content) }).toEqual({ point, code: 0, same: true });
  expect(await repository.run(["verify", `${VOLUME}@${point}`, "--exists"])).toMatchObject({ code: 0 });
}

/** A block of the chunk at `position` is written to. */
function increment(
  position: number,
  from = "monday",
  to = "tuesday",
): { stdin: Uint8Array; content: Buffer } {
  const write = noise(4096, to);
  const content = Buffer.from(CONTENT);
  content.set(write, position * CHUNK_BYTES + 8192);
  const records = [{ tag: "f", name: from }, { tag: "t", name: to }, {
    tag: "s",
    sizeBytes: CONTENT.length,
  }] as const;
  const offset = position * CHUNK_BYTES + 8192;
  return { content, stdin: encodeDiff([...records, { tag: "w", offset, data: write }, { tag: "e" }]) };
}

const DAMAGES: [what: string, damage: (file: string) => void][] = [
  ["lost", (file) => rmSync(file)],
  ["emptied", (file) => truncateSync(file, 0)],
  ["cut", (file) => truncateSync(file, 100)],
];

describe("varve backup of the whole volume, by the host that made the one before", () => {
  test.each(DAMAGES)("stores again half of the chunks, which were %s", async (_, damage) => {
    chunks().filter((_, index) => index % 2 === 0).forEach(damage);
    const { chunks: counts } = await repository.json<BackupReport>(["backup", VOLUME], {
      stdin: fullStream(CONTENT, "tuesday"),
    });
    expect({ new: counts.new, reused: counts.reused }).toEqual({ new: CHUNKS / 2, reused: CHUNKS / 2 });
    await expectWhole("tuesday", CONTENT);
    await expectWhole("monday", CONTENT);
  });

  test("does so from a file, too, and stores the page again", async () => {
    const file = repository.path("db.img");
    writeFileSync(file, CONTENT);
    [...chunks().slice(0, 3), ...pages()].forEach((file) => rmSync(file));
    await repository.json(["backup", VOLUME, file, "--format", "raw"]);
    await expectWhole("latest", CONTENT);
    await expectWhole("monday", CONTENT);
  });

  test("stores again what a repair has found damaged, and heals the points before", async () => {
    const { stdin, content } = increment(3);
    await repository.json(["backup", VOLUME], { stdin });
    for (const file of chunks()) writeFileSync(file, flipBit(readFileSync(file), 8 * 2000));
    expect((await repository.run(["repair", "acme"])).code).toBe(3);
    await repository.json(["backup", VOLUME], { stdin: fullStream(CONTENT, "wednesday") });
    await expectWhole("wednesday", CONTENT);
    await expectWhole("monday", CONTENT);
    await expectWhole("tuesday", content);
  });
});

describe("varve backup by a new host, of a volume whose page cannot be read", () => {
  test.each([
    ["is missing", (file: string) => rmSync(file)],
    ["was changed", (file: string) => writeFileSync(file, flipBit(readFileSync(file), 8 * 60))],
  ])("stores all of a full stream when it %s", async (_, damage) => {
    pages().forEach(damage);
    const content = Buffer.from(CONTENT);
    content.set(noise(CHUNK_BYTES, "other"), 5 * CHUNK_BYTES);
    const stdin = fullStream(content, "tuesday");
    const { code, stdout, stderr } = await repository.run(["backup", VOLUME, "--json"], {
      stdin,
      env: otherHost(),
    });
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as BackupReport).chunks).toMatchObject({ new: 1, reused: CHUNKS - 1 });
    expect(stderr).toContain("its chunks are looked up one by one");
    await expectWhole("tuesday", content);
  });

  test("refuses an increment, and says which point and what to do", async () => {
    pages().forEach((file) => rmSync(file));
    const { stdin } = increment(3);
    const result = await repository.run(["backup", VOLUME], { stdin, env: otherHost() });
    expectOneLine(result, {
      code: 3,
      line:
        /^varve: Cannot back up "acme\/db": an object of the base "acme\/db@\S+" cannot be read; back up in full, or run "varve repair acme": /,
    });
  });
});

describe("varve backup of an increment", () => {
  test("exits with 3 when a chunk that it needs is missing", async () => {
    chunks().forEach((file) => rmSync(file));
    const write = noise(5, "cut block");
    const names = [{ tag: "f", name: "monday" }, { tag: "t", name: "tuesday" }] as const;
    const records = [...names, { tag: "s", sizeBytes: CONTENT.length }] as const;
    const stdin = encodeDiff([...records, { tag: "w", offset: 77, data: write }, { tag: "e" }]);
    const result = await repository.run(["backup", VOLUME], { stdin, env: otherHost() });
    expectOneLine(result, { code: 3, line: / cannot be read; back up in full, .*: no such object/ });
  });

  test("warns of what a repair has found damaged in its base, and a full backup ends that", async () => {
    for (const file of chunks()) writeFileSync(file, flipBit(readFileSync(file), 8 * 2000));
    await repository.run(["repair", "acme"]);
    const records = [{ tag: "f", name: "monday" }, { tag: "s", sizeBytes: CONTENT.length }] as const;
    const stdin = encodeDiff([...records, { tag: "w", offset: 0, data: noise(CHUNK_BYTES, "new") }, {
      tag: "e",
    }]);
    const { code, stderr } = await repository.run(["backup", VOLUME], { stdin });
    expect(code).toBe(0);
    expect(stderr).toContain(
      `and the new restore point refer to ${CHUNKS - 1} damaged chunks; `,
    );
    expect(stderr).toContain('back up "acme/db" in full to repair them');
    await repository.json(["backup", VOLUME], { stdin: fullStream(CONTENT, "wednesday") });
    await expectWhole("wednesday", CONTENT);
    await expectWhole("monday", CONTENT);
  });
});
