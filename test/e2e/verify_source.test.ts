/** `verify --source` as a user types it, over the built program: what it says where point and source differ, and of the wrong input. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { utf8 } from "../../src/util/bytes.ts";
import type { VerifySourceReport } from "../../src/engine/verify/verify_source.ts";
import { noise } from "../kit/engine.ts";
import { CHUNK_BYTES, expectOneLine } from "../kit/repository.ts";
import { encodeExport, fullStream } from "../kit/rbd_stream.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

setDefaultTimeout(60_000);

const CHUNKS = 64;
const SIZE = CHUNKS * CHUNK_BYTES;
const POINT = "acme/db@monday";

describe("varve verify --source", () => {
  const repository = new Workbench(scratchFolder());
  const content = noise(1, SIZE);
  const image = repository.path("image");
  const compare = (...args: string[]) => repository.run(["verify", POINT, ...args]);

  beforeAll(async () => {
    await repository.json(["init", "acme", "--no-encryption", "--chunk-size", String(CHUNK_BYTES)]);
    await repository.json(["backup", "acme/db"], { stdin: fullStream(content, "monday") });
    await writeFile(image, content);
  });

  /** An image in which the first byte of these chunks is another. */
  async function changedImage(chunks: number[]): Promise<string> {
    const changed = content.slice();
    for (const chunk of chunks) changed[chunk * CHUNK_BYTES]! ^= 1;
    const path = repository.path("changed");
    await writeFile(path, changed);
    return path;
  }

  test("says that all is equal, from a file and from a pipe", async () => {
    for (
      const result of [
        await compare("--source", image),
        await repository.run(["verify", POINT, "--source", "-"], { stdin: content }),
      ]
    ) {
      expect(result).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(
          /^acme\/db@monday \(\w+-\w+\): 64 chunks compared in [\d:]+: all equal\n$/,
        ),
      });
    }
  });

  test("says where they differ in a line for each range, and blames neither of them", async () => {
    const changed = await changedImage([2, 3, 4, 9]);
    const { code, stdout, stderr } = await compare("--source", changed);
    expect({ code, lines: stdout.split("\n").slice(1) }).toEqual({
      code: 3,
      lines: [
        `differs: ${3 * CHUNK_BYTES} bytes at offset ${2 * CHUNK_BYTES}`,
        `differs: ${CHUNK_BYTES} bytes at offset ${9 * CHUNK_BYTES}`,
        "",
      ],
    });
    expect(stderr).toMatch(
      /^varve: Cannot verify "acme\/db@monday": 256 KiB differ from ".*changed": it may have changed since or be another snapshot; [^\n]* back up in full\n$/,
    );
    expect(stdout + stderr).not.toMatch(/wrong|whole/);
  });

  test("shows 20 ranges and counts the others, and all that are told with --json", async () => {
    const changed = await changedImage(Array.from({ length: CHUNKS / 2 }, (_, at) => 2 * at));
    const { stdout } = await compare("--source", changed);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.length).toBe(1 + 20 + 1);
    expect(lines.at(-1)).toBe("differs: and 12 more ranges");
    const { code, stdout: json } = await compare("--source", changed, "--json");
    const report = JSON.parse(json) as VerifySourceReport;
    expect({ code, bytes: report.differs.bytes, count: report.differs.ranges.length }).toEqual({
      code: 3,
      bytes: SIZE / 2,
      count: CHUNKS / 2,
    });
    expect(report.differs.ranges[1]).toEqual({ offset: 2 * CHUNK_BYTES, length: CHUNK_BYTES });
    expect(report.unreadable).toEqual({ bytes: 0, ranges: [], more_ranges: 0, reason: null });
  });

  test.each(["--exists", "--sample 1/7", "--max-age 30d"])(
    "refuses %s beside it",
    async (other) => {
      expectOneLine(await compare("--source", image, ...other.split(" ")), {
        code: 2,
        line: `--source compares the whole restore point; remove ${other.split(" ")[0]}`,
      });
    },
  );

  test("refuses a source of another size", async () => {
    const short = repository.path("short");
    await writeFile(short, content.subarray(0, SIZE - 5));
    expectOneLine(await compare("--source", short), {
      code: 3,
      line: `Cannot compare with "${short}": its size is ${
        SIZE - 5
      } bytes instead of ${SIZE}; check that it is the same snapshot`,
    });
  });

  describe("is given a stream of rbd", () => {
    const records = [{ tag: "s", sizeBytes: SIZE } as const, { tag: "e" } as const];
    const STREAMS: [name: string, stream: Uint8Array][] = [
      ["export-diff", fullStream(content, "monday")],
      ["export-diff of nothing", utf8("rbd diff v1\n")],
      ["an export of format 2", encodeExport([[...records]])],
    ];
    const line =
      /^varve: Cannot compare "acme\/db@\w+-\w+" with ".*": it is an rbd stream, .*; use "rbd export POOL\/IMAGE@SNAP - \| varve verify acme\/db@\w+-\w+ --source -"\n$/;

    test.each(STREAMS)("%s: exit 2, from a pipe and from a file", async (_, stream) => {
      const file = repository.path("stream");
      await writeFile(file, stream);
      expectOneLine(await compare("--source", file), { code: 2, line });
      const piped = await repository.run(["verify", POINT, "--source", "-"], { stdin: stream });
      expectOneLine(piped, { code: 2, line });
    });
  });
});
