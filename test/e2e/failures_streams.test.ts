/** Bad streams through the built program: each is told in one line that names the place, and commits nothing. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  beginning,
  bytes,
  encodeDiff,
  encodeExport,
  fullStream,
  le32,
  le64,
  type TestRecord,
} from "../kit/rbd_stream.ts";
import {
  CHUNK_BYTES,
  expectOneLine,
  lastLineText,
  noise,
  RUN_LIMIT_MS,
  TestRepository,
} from "../kit/repository.ts";

const VOLUME = "acme/rbd/vm-1";
const SIZE_BYTES = 3 * CHUNK_BYTES + 5000;
const BANNER = "rbd diff v1\n";
const DATA = noise(SIZE_BYTES, "data");
/** Its records begin at 0 (banner), 12 (t), 19 (s), 28 (w: 17 bytes, then the data) and `END` (e). */
const GOOD = fullStream(DATA);
const END = GOOD.length - 1;
const HEAD = encodeDiff(beginning(SIZE_BYTES));

setDefaultTimeout(RUN_LIMIT_MS);

let repository: TestRepository;

beforeAll(async () => {
  repository = await TestRepository.make();
  await repository.backUp(VOLUME, noise(SIZE_BYTES, "first"), { snapshot: "monday" });
});
afterAll(() => repository.remove());

const expectNothingCommitted = () => repository.expectNothingNew();

interface BadStream {
  what: string;
  stream: Uint8Array;
  /** What the line says behind the stream's name. */
  says: string;
  /** Comes in all ways, not by standard input alone. */
  everyWay?: true;
}

function full(...records: TestRecord[]): Uint8Array {
  return encodeDiff([...beginning(SIZE_BYTES), ...records]);
}

const BAD_STREAMS: BadStream[] = [
  { what: "is empty", stream: bytes(), says: "it is empty", everyWay: true },
  {
    what: "is a text file",
    stream: bytes("Dear operator,\nthis is no stream.\n"),
    says: 'it starts with "Dear operato"',
    everyWay: true,
  },
  { what: "holds an unknown tag", stream: bytes(HEAD, "x"), says: '"x" (0x78)' },
  {
    what: "has a name of 4,097 bytes",
    stream: bytes(BANNER, "t", le32(4097), "n".repeat(4097)),
    says: "4097",
  },
  { what: "has a name of 4 GiB", stream: bytes(BANNER, "f", le32(0xffffffff), "n"), says: "4294967295" },
  {
    what: "writes past the end",
    stream: full({ tag: "w", offset: SIZE_BYTES - 10, data: new Uint8Array(11) }, { tag: "e" }),
    says: `outside the volume of ${SIZE_BYTES} bytes`,
  },
  {
    what: "zeroes past the end",
    stream: full({ tag: "z", offset: SIZE_BYTES, length: 1 }, { tag: "e" }),
    says: `outside the volume of ${SIZE_BYTES} bytes`,
  },
  {
    what: "has a length near 2^64",
    stream: full({ tag: "z", offset: 4096, length: 2n ** 64n - 1n }),
    says: "18446744073709551615",
  },
  {
    what: "has an offset near 2^64, so that offset and length together are small",
    stream: full({ tag: "z", offset: 2n ** 64n - 4096n, length: 8192 }),
    says: "18446744073709547520",
  },
  {
    what: "has data of a length near 2^64",
    stream: bytes(HEAD, "w", le64(0), le64(2n ** 64n - 1n), "data"),
    says: "18446744073709551615",
  },
  {
    what: "has a size near 2^64",
    stream: encodeDiff([{ tag: "s", sizeBytes: 2n ** 64n - 1n }, { tag: "e" }]),
    says: "18446744073709551615",
  },
  { what: "goes on after its end", stream: bytes(GOOD, "e"), says: "after its end record", everyWay: true },
  { what: "comes twice", stream: bytes(GOOD, GOOD), says: "after its end record" },
  {
    what: "holds two exports, the second cut off",
    stream: encodeExport([[...beginning(SIZE_BYTES, "tuesday"), { tag: "e" }], [
      ...beginning(SIZE_BYTES, "w"),
    ]]),
    says: "ends before its end record",
    everyWay: true,
  },
];

/** The three ways in, and how the line calls the stream that came so. */
const WAYS = {
  "standard input": async (stream: Uint8Array) =>
    await repository.run(["backup", VOLUME, "--json"], { stdin: stream }),
  "bad.diff": async (stream: Uint8Array) => {
    await writeFile(repository.path("bad.diff"), stream);
    return await repository.run(["backup", VOLUME, repository.path("bad.diff"), "--json"]);
  },
  "cat": async (stream: Uint8Array) => {
    await writeFile(repository.path("produced.diff"), stream);
    return await repository.run([
      ...["backup", VOLUME, "--json", "--exec", "--", "cat", repository.path("produced.diff")],
    ]);
  },
};

describe.each(Object.entries(WAYS))("varve backup of a stream from %s", (name, backUp) => {
  const streams = BAD_STREAMS.filter(({ everyWay }) => everyWay || name === "standard input");
  test.each(streams)("exits with 1 when it $what", async ({ stream, says }) => {
    const result = await backUp(stream);
    expectOneLine(result, { code: 1, line: new RegExp(`^varve: Cannot read "[^"]*${name}": `) });
    expect(lastLineText(result)).toContain(says);
    expect(lastLineText(result)).toMatch(/\(stream offset \d+\)\n$/);
    await expectNothingCommitted();
  });
});

test("varve backup commits nothing when the stream is cut off anywhere", async () => {
  const cuts = [1, 11, 12, 13, 17, 18, 19, 20, 27, 28, 29, 44, 45, 46, 45 + CHUNK_BYTES, END - 1, END];
  for (const cut of cuts) {
    const result = await WAYS["standard input"](GOOD.subarray(0, cut));
    expectOneLine(result, { code: 1, line: `(stream offset ${cut})` });
  }
  await expectNothingCommitted();
});

describe("varve backup of an increment", () => {
  const increment = (from: string) =>
    encodeDiff([
      { tag: "f", name: from },
      ...beginning(SIZE_BYTES, "tuesday"),
      { tag: "w", offset: 100, data: DATA.subarray(0, 100) },
      { tag: "e" },
    ]);

  test("exits with 1 and names the snapshots that there are when its first one was not backed up", async () => {
    const result = await repository.run(["backup", VOLUME], { stdin: increment("sunday") });
    expectOneLine(result, { code: 1, line: /starts at snapshot "sunday".*these have been: "monday"/ });
    await expectNothingCommitted();
  });

  test("exits with 1 when the volume has no backup at all", async () => {
    const result = await repository.run(["backup", "acme/new"], { stdin: increment("monday") });
    expectOneLine(result, {
      code: 1,
      line: /"acme\/new".*snapshot "monday".*no snapshot has been; export without --from-snap$/m,
    });
    await expectNothingCommitted();
  });
});

describe("varve backup --exec", () => {
  test("waits for what the command left behind and still writes, and says so after some seconds", async () => {
    const script = "printf one; { sleep 8; printf two; } & exit 0";
    const args = [
      "backup",
      "acme/later",
      "--log-format",
      "json",
      "--format",
      "raw",
      "--exec",
      "--",
      "sh",
      "-c",
      script,
    ];
    const { code, stderr } = await repository.run(args);
    expect({ code, said: stderr.trim().split("\n").map((line) => JSON.parse(line).msg) }).toEqual({
      code: 0,
      said: ['"sh" has ended, but a process that it started still holds its output: waiting for that'],
    });
    const restored = await repository.run(["restore", "acme/later", "--to", "-"]);
    expect(restored.stdout).toBe("onetwo");
    expect((await repository.run(["forget", "acme/later@latest"])).code).toBe(0);
  });

  const producing = (script: string) =>
    repository.run([
      ...["backup", VOLUME, "--exec", "--", "sh", "-c", script, "sh", repository.path("good.diff")],
    ]);

  beforeAll(() => writeFile(repository.path("good.diff"), GOOD));

  test("exits with 1 when the producer exits with 3 after a whole stream", async () => {
    expectOneLine(await producing('cat "$1"; exit 3'), { code: 1, line: /Cannot complete "sh".*code 3/ });
    await expectNothingCommitted();
  });

  test("exits with 1 and passes on what the producer said when it fails", async () => {
    const { code, stderr } = await producing('cat "$1"; echo "rbd: pool is gone" >&2; exit 3');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^rbd: pool is gone\nvarve: Cannot complete "sh": [^\n]*code 3: rbd: pool is gone\n$/,
    );
    await expectNothingCommitted();
  });

  test("exits with 1 when a signal ends the producer after a whole stream", async () => {
    expectOneLine(await producing('cat "$1"; kill -9 $$'), {
      code: 1,
      line: /Cannot complete "sh".*SIGKILL/,
    });
    await expectNothingCommitted();
  });

  test("exits with 1 when the producer dies in the middle of the stream", async () => {
    const result = await producing('head -c 100000 "$1"; kill -9 $$');
    expectOneLine(result, { code: 1, line: /Cannot complete "sh".*SIGKILL/ });
    await expectNothingCommitted();
  });

  test("exits with 1 when there is no such command", async () => {
    const result = await repository.run(["backup", VOLUME, "--exec", "--", "no-such-producer"]);
    expectOneLine(result, { code: 1, line: /Cannot run "no-such-producer".*not found/ });
    await expectNothingCommitted();
  });

  test("exits with 1 when the source is not there", async () => {
    const result = await repository.run(["backup", VOLUME, repository.path("missing.diff")]);
    expectOneLine(result, { code: 1, line: /Cannot open ".*missing\.diff": no such file or directory/ });
    await expectNothingCommitted();
  });
});

describe("varve exits with 2 and touches nothing", () => {
  const long = "n".repeat(300);
  test.each([
    ["a volume is ..", "acme/.."],
    ["a volume leads out of its project", "acme/../other/vm"],
    ["a project is ..", "../vm"],
    ["a project is .", "./vm"],
    ["a project is empty", "/vm"],
    ["a volume is empty", "acme/"],
    ["a part of a volume is empty", "acme/rbd//vm"],
    ["a volume holds a newline", "acme/v\nm"],
    ["a volume holds an escape sequence", "acme/\u001b[31mvm"],
    ["a project holds a control character", "ac\u0007me/vm"],
    ["a volume has 300 bytes", `acme/${long}`],
    ["a project has 300 bytes", `${long}/vm`],
    ["a volume's parts have 300 bytes together", `acme/${"nnnn/".repeat(60)}n`],
    ["a volume is not ASCII", "acme/vüm"],
  ])("when %s", async (_, volume) => {
    const result = await repository.run(["backup", volume], { stdin: GOOD });
    expectOneLine(result, { code: 2, line: /^varve: Cannot use / });
    // deno-lint-ignore no-control-regex -- they must not reach the terminal
    expect(result.stderr.trimEnd()).not.toMatch(/[\x00-\x1f\x7f]/);
    expect(result.stderr.length).toBeLessThan(300);
  });

  test.each([["show"], ["list"], ["restore"]])("when varve %s is given such a name", async (command) => {
    const to = command === "restore" ? ["--to", "/dev/null"] : [];
    const result = await repository.run([command, "acme/../other/vm", ...to]);
    expectOneLine(result, { code: 2, line: /^varve: Cannot use "\.\.\/other\/vm" as a volume/ });
  });
});

test("what was backed up before all of these restores as it was, and nothing else is there", async () => {
  await repository.expectIntact();
  expect(await readdir(join(repository.url, "projects"))).toEqual(["acme"]);
  expect(await readdir(join(repository.url, "projects/acme/leases")).catch(() => [])).toEqual([]);
  expect(await readdir(join(repository.url, "tmp"))).toEqual([]);
});
