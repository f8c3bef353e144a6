/** A file is as it was recorded only as long as nobody wrote to it, however they try to hide it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import {
  type FileContent,
  lookOf,
  recordedContent,
  recordFile,
  tickMs,
} from "../../src/cache/file_record.ts";
import { flipBit } from "../kit/damage.ts";
import { mountTmpfs, runAsRoot, unmount } from "../kit/mounts.ts";
import { describeWith } from "../kit/parts.ts";
import { noLoopDevice } from "../kit/loop_device.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { mappingOf } from "../kit/mapping.ts";

const folder = scratchFolder();
const PLACE = {
  root: join(folder, "cache"),
  repositoryId: "r",
  project: "acme",
  key: new Uint8Array(32).fill(7),
};
const records = join(PLACE.root, "files");
const file = join(folder, "disk");
const CONTENT: FileContent = {
  repository: "r",
  project: "acme",
  volume: "vm",
  backup: "20260101T000000000Z-00000001",
};
const known = () => recordedContent(PLACE, file);

async function record(path = file, content = CONTENT): Promise<void> {
  await recordFile(PLACE, path, { known: (await lookOf(path))!, content });
}

beforeEach(async () => {
  fs.rmSync(file, { force: true });
  fs.rmSync(records, { recursive: true, force: true });
  fs.writeFileSync(file, "content");
  await record();
});

test("recordedContent() gives what was recorded when nobody wrote to the file", async () => {
  expect(await known()).toEqual(CONTENT);
  fs.readFileSync(file);
  expect(await known()).toEqual(CONTENT);
});

test("recordedContent() gives nothing when the file was moved away, and nothing of what has its name now", async () => {
  // A rename changes a file's ctime: it is read again, which costs time only.
  const moved = join(folder, "moved");
  fs.renameSync(file, moved);
  expect(await recordedContent(PLACE, moved)).toBeUndefined();
  fs.writeFileSync(file, "content");
  expect(await known()).toBeUndefined();
});

/** Everything that a write can be, with the times put back where that is possible. */
const WRITES: [what: string, write: () => void][] = [
  ["a byte is written", () => {
    const fd = fs.openSync(file, "r+");
    fs.writeSync(fd, "C", 0);
    fs.closeSync(fd);
  }],
  ["a byte is written and the times are put back", () => {
    const { atime, mtime } = fs.statSync(file);
    fs.writeFileSync(file, "CONTENT");
    fs.utimesSync(file, atime, mtime);
  }],
  ["it is written to with what it has", () => fs.writeFileSync(file, "content")],
  ["it is cut", () => fs.truncateSync(file, 3)],
  ["it is cut and grown again", () => {
    fs.truncateSync(file, 3);
    fs.truncateSync(file, 7);
  }],
  ["another file is moved to its name", () => {
    fs.writeFileSync(`${file}.new`, "content");
    fs.renameSync(`${file}.new`, file);
  }],
  ["it is removed", () => fs.rmSync(file)],
  ["it becomes a folder", () => {
    fs.rmSync(file);
    fs.mkdirSync(file);
    fs.rmdirSync(file);
  }],
];

test.each(WRITES)("recordedContent() gives nothing when %s", async (_, write) => {
  write();
  expect(await known()).toBeUndefined();
});

test("recordFile() records nothing when the file was written to since it was known", async () => {
  const look = (await lookOf(file))!;
  fs.writeFileSync(file, "CONTENT");
  await recordFile(PLACE, file, {
    known: look,
    content: { ...CONTENT, backup: "20260102T000000000Z-00000000" },
  });
  expect(await known()).toBeUndefined();
});

test("recordFile() does not fail when records cannot be written", async () => {
  await recordFile({ ...PLACE, root: "/proc/none" }, file, {
    known: (await lookOf(file))!,
    content: CONTENT,
  });
  expect(await recordedContent({ ...PLACE, root: "/proc/none" }, file)).toBeUndefined();
});

/** Writes as soon as a look was taken, and says what is known then. */
async function knownAfterWrite(path: string): Promise<FileContent | undefined> {
  fs.writeFileSync(path, "content");
  const known = (await lookOf(path))!;
  fs.writeFileSync(path, "CONTENT");
  await recordFile(PLACE, path, { known, content: CONTENT });
  return await recordedContent(PLACE, path);
}

test("lookOf() is another one after any write, however soon that comes", async () => {
  for (let round = 0; round < 25; round++) expect(await knownAfterWrite(file)).toBeUndefined();
});

describe.skipIf(noLoopDevice !== undefined)(`on a file system (${noLoopDevice ?? "loop"})`, () => {
  describeWith(["filesystems"], "that keeps whole seconds", () => {
    const mounted = join(folder, "mounted");

    beforeAll(() => {
      const image = join(folder, "image");
      fs.writeFileSync(image, "");
      fs.truncateSync(image, 8 << 20);
      runAsRoot(["mkfs.ext4", "-q", "-I", "128", image]);
      fs.mkdirSync(mounted);
      runAsRoot(["mount", "-o", "loop", image, mounted]);
    });
    afterAll(() => unmount(mounted));

    test("lookOf() is another one after any write, too", async () => {
      expect(await knownAfterWrite(join(mounted, "disk"))).toBeUndefined();
    });
  });
});

test("recordedContent() gives nothing when another process writes through a mapping that it wrote to before", async () => {
  const mapping = mappingOf(file);
  try {
    await mapping.write(0, 1); // its page is dirty from here on
    await record();
    expect(await known()).toEqual(CONTENT);
    await mapping.write(0, 2);
    expect(await known()).toBeUndefined();
    await record();
    await mapping.write(0, 3);
    expect(await known()).toBeUndefined();
  } finally {
    mapping.end();
  }
});

describeWith(["root"], "on a file system whose times do not tell", () => {
  const mounted = join(folder, "memory");
  beforeAll(() => mountTmpfs(mounted, ["size=8388608"]));
  afterAll(() => unmount(mounted));

  test("lookOf() gives nothing", async () => {
    fs.writeFileSync(join(mounted, "disk"), "content");
    expect(await lookOf(join(mounted, "disk"))).toBeUndefined();
  });
});

test("lookOf() gives nothing when the file is being written to", async () => {
  let isDone = false;
  const looking = lookOf(file).finally(() => isDone = true);
  while (!isDone) await fs.promises.appendFile(file, "more");
  expect(await looking).toBeUndefined();
});

test("tickMs() is long when the file system keeps no finer times", () => {
  for (const ctime of ["1790000000000000000", "1790000000120000000"]) expect(tickMs({ ctime })).toBe(2020);
  for (const ctime of ["1790000000123456789", "1790000000123000000"]) expect(tickMs({ ctime })).toBe(20);
});

test("lookOf() gives nothing when the path is no regular file", async () => {
  expect(await lookOf(folder)).toBeUndefined();
  expect(await lookOf("/dev/null")).toBeUndefined();
  expect(await lookOf(join(folder, "none"))).toBeUndefined();
});

test("recordedContent() gives nothing when the record is another file's", async () => {
  const other = join(folder, "other");
  fs.writeFileSync(other, "content");
  const [mine] = fs.readdirSync(records) as [string];
  await record(other, { ...CONTENT, backup: "20260102T000000000Z-00000000" });
  const theirs = fs.readdirSync(records).find((name) => name !== mine)!;
  fs.renameSync(join(records, theirs), join(records, mine));
  expect(await known()).toBeUndefined();
});

test("recordedContent() gives nothing when the record is cut, or no record at all", async () => {
  const [name] = fs.readdirSync(records) as [string];
  const bytes = fs.readFileSync(join(records, name));
  const others = ["null", "[]", "{}", '{"look":null}', "\0"].map((text) => Buffer.from(text));
  const cut = Array.from({ length: bytes.length - 1 }, (_, length) => bytes.subarray(0, length));
  for (const other of [...others, ...cut]) {
    fs.writeFileSync(join(records, name), other);
    expect(await known()).toBeUndefined();
  }
});

test("recordedContent() gives nothing when any bit of the record is turned over", async () => {
  const [name] = fs.readdirSync(records) as [string];
  const bytes = fs.readFileSync(join(records, name));
  // The last byte is the end of a line, and says nothing.
  for (let bit = 0; bit < (bytes.length - 1) * 8; bit++) {
    fs.writeFileSync(join(records, name), flipBit(bytes, bit));
    expect({ bit, content: await known() }).toEqual({ bit, content: undefined });
  }
});

test("recordedContent() gives nothing when the record was written without the project's key", async () => {
  const [name] = fs.readdirSync(records) as [string];
  const [line = ""] = fs.readFileSync(join(records, name), "utf8").split("\n");
  const forged = line.replace("b-1", "b-2");
  const sum = new Bun.CryptoHasher("sha256").update(forged).digest("hex");
  fs.writeFileSync(join(records, name), `${forged}\n${sum}\n`);
  expect(await known()).toBeUndefined();
  await recordFile({ ...PLACE, key: new Uint8Array(32).fill(8) }, file, {
    known: (await lookOf(file))!,
    content: CONTENT,
  });
  expect(await known()).toBeUndefined();
});
