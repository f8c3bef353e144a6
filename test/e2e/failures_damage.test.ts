/** The built program and a repository in which bits were changed, objects swapped, cut or lost. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import { PAGE_CHUNKS } from "../../src/format/limits.ts";
import { flipBit } from "../kit/damage.ts";
import {
  CHUNK_BYTES,
  expectOneLine,
  lastLineText,
  noise,
  RUN_LIMIT_MS,
  TestRepository,
} from "../kit/repository.ts";
import { random } from "../kit/random.ts";
import { encodeDiff } from "../kit/rbd_stream.ts";
import { varveBytes } from "../kit/varve.ts";
import { filesBelow } from "../kit/files_below.ts";

const VOLUME = "acme/vm";
/** The type's place in an object's header, and the version's (docs/format.md). */
const [VERSION_AT, TYPE_AT] = [5, 6];
/** Positions with data; 1 and 7 have the same, and the last is in the second page. All others are zero. */
const POSITIONS = [0, 1, 2, 3, 7, PAGE_CHUNKS + 2];
const SIZE_BYTES = (PAGE_CHUNKS + 3) * CHUNK_BYTES - 1000;

setDefaultTimeout(RUN_LIMIT_MS);

let whole: TestRepository;
let bytes: Buffer;
let older: string;
/** A copy of the repository, new for each test, and its objects by kind. */
let damaged: string;
let objects: { chunks: string[]; pages: string[]; manifests: string[]; keys: string[] };
let to: string;

beforeAll(async () => {
  whole = await TestRepository.make();
  bytes = Buffer.alloc(SIZE_BYTES);
  for (const position of POSITIONS) bytes.set(contentOf(position), position * CHUNK_BYTES);
  const stdin = encodeDiff([
    { tag: "t", name: "monday" },
    { tag: "s", sizeBytes: SIZE_BYTES },
    ...POSITIONS.map((position) => {
      return { tag: "w", offset: position * CHUNK_BYTES, data: contentOf(position) } as const;
    }),
    { tag: "e" },
  ]);
  ({ backup: older } = await whole.json<{ backup: string }>(["backup", VOLUME], { stdin }));
});
afterAll(() => whole.remove());
beforeEach(() => {
  damaged = whole.path("damaged");
  to = whole.path("restored.img");
  rmSync(damaged, { recursive: true, force: true });
  rmSync(to, { force: true });
  forget();
  cpSync(whole.url, damaged, { recursive: true });
  const below = (folder: string) => filesBelow(join(damaged, "projects/acme", folder));
  const isPage = (file: string) => readFileSync(file)[TYPE_AT] === OBJECT_TYPE.page;
  const stored = below("chunks");
  objects = {
    chunks: stored.filter((file) => !isPage(file)),
    pages: stored.filter(isPage),
    manifests: below("volumes"),
    keys: below("keys"),
  };
});

function contentOf(position: number): Uint8Array {
  const length = Math.min(CHUNK_BYTES, SIZE_BYTES - position * CHUNK_BYTES);
  return noise(length, `chunk ${position === 7 ? 1 : position}`);
}

function change(file: string, to: (bytes: Uint8Array) => Uint8Array): void {
  writeFileSync(file, to(readFileSync(file)));
}

function flipMiddle(file: string): void {
  change(file, (bytes) => flipBit(bytes, bytes.length * 4));
}

const run = (args: readonly string[], env: Record<string, string> = {}) =>
  whole.run(args, { env: { ...damagedEnv(), ...env } });
const damagedEnv = () => ({
  VARVE_REPO: damaged,
  XDG_CACHE_HOME: whole.path("memory"),
  XDG_STATE_HOME: whole.path("memory/state"),
});
/** What this host remembers need not be read from the store, and so is not noticed there. */
const forget = () => rmSync(whole.path("memory"), { recursive: true, force: true });
const restore = (...options: string[]) => run(["restore", VOLUME, "--to", to, ...options]);

/** The damaged ranges that `--keep-going` tells, after its exit code and its two ways of telling have been checked. */
async function keepGoing(): Promise<RestoreReport["damaged"]> {
  const { code, stdout, stderr } = await restore("--keep-going", "--json");
  const { damaged } = JSON.parse(stdout) as RestoreReport;
  expect(code).toBe(3);
  const lines = merged(damaged).map(({ offset, length, reason }) =>
    `damaged: offset ${offset}, ${length} bytes, left as they were: ${reason}\n`
  );
  const chunks = damaged.length === 1 ? "1 chunk is" : `${damaged.length} chunks are`;
  const last = `varve: Cannot restore all of "${VOLUME}": ${chunks} damaged; "${to}" is incomplete\n`;
  expect(lastLineText({ code, stderr })).toBe([...lines, last].join(""));
  return damaged;
}

/** Each damaged range is told once: what follows each other for the same reason is one. */
function merged(ranges: RestoreReport["damaged"]): RestoreReport["damaged"] {
  return ranges.reduce<RestoreReport["damaged"]>((told, range) => {
    const last = told.at(-1);
    const isNext = last?.reason === range.reason && last.offset + last.length === range.offset;
    if (isNext) return [...told.slice(0, -1), { ...last, length: last.length + range.length }];
    return [...told, range];
  }, []);
}

/** The target holds the volume, but zeros (or what `before` had) where it was said to be damaged. */
function expectRestored(ranges: RestoreReport["damaged"], before: Buffer = Buffer.alloc(SIZE_BYTES)): void {
  const expected = Buffer.from(bytes);
  for (const { offset, length } of ranges) before.copy(expected, offset, offset, offset + length);
  expect(digest(readFileSync(to))).toBe(digest(expected));
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const DAMAGES: [what: string, damage: (file: string) => void][] = [
  ["one bit was changed", flipMiddle],
  ["the last bit was changed", (file) => change(file, (bytes) => flipBit(bytes, bytes.length * 8 - 1))],
  ["it was cut", (file) => truncateSync(file, readFileSync(file).length >> 1)],
  ["it was emptied", (file) => truncateSync(file, 0)],
  ["it got longer", (file) => change(file, (bytes) => Buffer.concat([bytes, Buffer.of(0)]))],
  ["it is missing", (file) => rmSync(file)],
];

describe("varve restore of a damaged chunk", () => {
  test.each(DAMAGES)("reports every position and restores the rest when %s", async (_, damage) => {
    // Of the chunk at 1 and 7, and the one in the second page.
    const files = objects.chunks.filter((_, index) => index % 2 === 0);
    files.forEach(damage);
    const result = await restore();
    expectOneLine(result, {
      code: 3,
      line: /^varve: Cannot restore "acme\/vm@\S+" at offset \d+ \(\d+ bytes\): /,
    });
    expect(result.stderr).toContain("use --keep-going to restore the rest");
    forget();
    expect(files.some((file) => result.stderr.includes(file.slice(damaged.length + 1)))).toBe(true);

    const ranges = await keepGoing();
    expect(new Set(ranges.map(({ key }) => join(damaged, key)))).toEqual(new Set(files));
    for (const { offset } of ranges) expect(POSITIONS).toContain(offset / CHUNK_BYTES);
    expectRestored(ranges);
  });

  test("reports all its positions when two have the same chunk", async () => {
    objects.chunks.forEach(flipMiddle);
    const ranges = await keepGoing();
    expect(ranges.map(({ offset }) => offset / CHUNK_BYTES)).toEqual(POSITIONS);
    expect(ranges.at(-1)!.length).toBe(CHUNK_BYTES - 1000);
    expectRestored(ranges);
  });

  test("leaves what the target holds there when it has other data", async () => {
    const before = Buffer.from(noise(SIZE_BYTES / 8, "before"));
    const target = Buffer.alloc(SIZE_BYTES);
    before.copy(target);
    writeFileSync(to, target);
    objects.chunks.forEach(flipMiddle);
    expectRestored(await keepGoing(), target);
  });

  test("needs no chunk that the target holds already", async () => {
    writeFileSync(to, bytes);
    objects.chunks.forEach((file) => rmSync(file));
    expect(await restore()).toMatchObject({ code: 0, stderr: "" });
    expectRestored([]);
  });

  test("writes zeros in its place when the volume goes to standard output", async () => {
    objects.chunks.forEach(flipMiddle);
    const args = ["restore", VOLUME, "--to", "-", "--keep-going"];
    const { code, bytes, stderr } = await varveBytes(args, { env: damagedEnv() });
    expect({ code, lines: stderr.split("\n").length - 1 }).toEqual({ code: 3, lines: POSITIONS.length + 1 });
    expect(digest(bytes)).toBe(digest(Buffer.alloc(SIZE_BYTES)));
  });

  test("is not taken in when one object has another's place", async () => {
    const [one, other] = objects.chunks as [string, string];
    renameSync(one, `${one}.aside`);
    renameSync(other, one);
    renameSync(`${one}.aside`, other);
    const ranges = await keepGoing();
    expect(new Set(ranges.map(({ key }) => join(damaged, key)))).toEqual(new Set([one, other]));
    expectRestored(ranges);
  });
});

describe("varve restore of a damaged page", () => {
  test.each([DAMAGES[0]!, DAMAGES.at(-1)!])(
    "reports all its positions and restores the other page when %s",
    async (_, damage) => {
      const [page] = objects.pages as [string];
      damage(page);
      expectOneLine(await restore(), { code: 3, line: /^varve: Cannot restore .* at offset \d+ / });
      forget();
      const ranges = await keepGoing();
      const pages = new Set(ranges.map(({ offset }) => Math.floor(offset / CHUNK_BYTES / PAGE_CHUNKS)));
      expect({ pages: pages.size, positions: ranges.length }).toEqual({
        pages: 1,
        positions: pages.has(0) ? PAGE_CHUNKS : 3,
      });
      expectRestored(ranges);
    },
  );
});

describe("varve restore of a damaged manifest, key or repository", () => {
  const named = (kind: string) =>
    kind === "repository" ? join(damaged, "varve.json") : objects[kind as "keys"][0]!;

  for (const kind of ["manifests", "keys", "repository"]) {
    test.each(DAMAGES.slice(0, 3))(
      `exits with 3 and names the object of ${kind} when %s`,
      async (_, damage) => {
        const file = named(kind);
        damage(file);
        expectOneLine(await restore(), { code: 3, line: file.slice(damaged.length + 1) });
        expect(readdirSync(whole.folder)).not.toContain("restored.img");
      },
    );
  }

  test("exits with 10 when there is no varve.json", async () => {
    rmSync(named("repository"));
    expectOneLine(await restore(), { code: 10, line: /Cannot open/ });
  });

  test("leaves other backups as they were when the latest one's manifest is damaged", async () => {
    const { backup } = await whole.json<{ backup: string }>(["backup", VOLUME], {
      env: damagedEnv(),
      stdin: encodeDiff([{ tag: "f", name: "monday" }, { tag: "s", sizeBytes: SIZE_BYTES }, { tag: "e" }]),
    });
    const manifest = filesBelow(join(damaged, "projects/acme/volumes")).find((file) =>
      file.endsWith(backup)
    )!;
    flipMiddle(manifest);
    const latest = await restore();
    expect({ code: latest.code, named: latest.stderr.includes(backup) }).toEqual({ code: 3, named: true });
    expectRestored([]); // the newest that can be read
    rmSync(to);
    const args = ["restore", `${VOLUME}@${older}`, "--to", to];
    expect(await run(args)).toMatchObject({ code: 0, stderr: "" });
    expectRestored([]);
  });
});

test("varve restore never writes wrong data when any bit of any object is changed", async () => {
  const next = random(20_261);
  // The reserve means nothing to anybody.
  const files = filesBelow(damaged).filter((file) => file !== join(damaged, "reserve"));
  for (let turn = 0; turn < 15; turn++) {
    const file = files[next(files.length)]!;
    const original = readFileSync(file);
    const bit = next(original.length * 8);
    writeFileSync(file, flipBit(original, bit));
    rmSync(to, { force: true });
    forget();
    const { code, stderr } = await restore("--keep-going");
    const what = `bit ${bit} of ${file}: ${code} ${stderr}`;
    // A changed version looks like a later one.
    expect(what).toMatch(/: (3|12) /);
    if (filesBelow(whole.folder).includes(to)) expectOnlyRightChunks(readFileSync(to), what);
    writeFileSync(file, original);
  }
});

function expectOnlyRightChunks(restored: Buffer, what: string): void {
  for (const position of POSITIONS) {
    const at = position * CHUNK_BYTES;
    const chunk = restored.subarray(at, at + CHUNK_BYTES);
    const right = chunk.equals(bytes.subarray(at, at + CHUNK_BYTES)) || chunk.every((byte) => byte === 0);
    expect({ what, position, right }).toEqual({ what, position, right: true });
  }
}

describe("varve exits with 12", () => {
  test("when the repository is of a later format version", async () => {
    const file = join(damaged, "varve.json");
    const [json = ""] = readFileSync(file, "utf8").split("\n");
    const later = json.replace(/^\{"varve":3/, '{"varve":4');
    writeFileSync(file, `${later}\n${digest(Buffer.from(later))}\n`);
    for (const args of [["list"], ["show", VOLUME], ["restore", VOLUME, "--to", to], ["backup", VOLUME]]) {
      expectOneLine(await run(args), {
        code: 12,
        line: /^varve: Cannot read .*: its format version is 4, but this varve supports 3/,
      });
    }
  });

  test("when a backup's manifest is of a later one", async () => {
    changeVersion(objects.manifests[0]!);
    for (const options of [[], ["--keep-going"]]) {
      expectOneLine(await restore(...options), {
        code: 12,
        line: /^varve: Cannot read .*: its format version is 4, but this varve supports 3/,
      });
    }
  });
});

test("varve restore takes a chunk's version that is not its manifest's for damage", async () => {
  objects.chunks.forEach(changeVersion);
  const ranges = await keepGoing();
  expect(ranges.map(({ offset }) => offset / CHUNK_BYTES)).toEqual(POSITIONS);
  expectRestored(ranges);
});

function changeVersion(file: string): void {
  change(file, (bytes) => bytes.with(VERSION_AT, 4));
}

describe("varve exits with 13", () => {
  const [right, wrong] = [{ VARVE_PASSPHRASE: "correct horse" }, { VARVE_PASSPHRASE: "battery staple" }];
  beforeAll(async () => {
    writeFileSync(whole.path("right.key"), noise(32, "right"), { mode: 0o600 });
    writeFileSync(whole.path("wrong.key"), noise(32, "wrong"), { mode: 0o600 });
    const stdin = encodeDiff([{ tag: "s", sizeBytes: 0 }, { tag: "e" }]);
    await whole.json(["init", "sealed"], { env: right });
    await whole.json(["init", "keyed", "--key-file", whole.path("right.key")]);
    await whole.json(["backup", "sealed/vm"], { stdin, env: right });
    await whole.json(["backup", "keyed/vm", "--key-file", whole.path("right.key")], { stdin });
  });

  test("when the passphrase is wrong, or none is given", async () => {
    for (
      const command of [["list", "sealed"], ["backup", "sealed/vm"]]
    ) {
      expectOneLine(await run(command, wrong), {
        code: 13,
        line: /project "sealed": the passphrase is wrong/,
      });
      expectOneLine(await run(command), { code: 13, line: /project "sealed": it needs a passphrase/ });
    }
    expect((await run(["list", "sealed"], right)).code).toBe(0);
  });

  test("when the key file is another", async () => {
    const line = /project "keyed": the key file is wrong/;
    const args = (name: string) => ["list", "keyed", "--key-file", whole.path(name)];
    expectOneLine(await run(args("wrong.key")), { code: 13, line });
    expect((await run(args("right.key"))).code).toBe(0);
  });
});
