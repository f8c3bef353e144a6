/** The ways of a restore as an operator sees them: the built program, from a directory and MinIO, onto files and loop devices. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { describeWith } from "../kit/parts.ts";
import { encodeDiff, type TestRecord } from "../kit/rbd_stream.ts";
import { CHUNK_BYTES, expectOneLine, noise, RUN_LIMIT_MS } from "../kit/repository.ts";
import { expectContent } from "../kit/restores.ts";
import { varveBytes, type VarveOptions } from "../kit/varve.ts";
import { attachLoop, detachLoop, noLoopDevice } from "../kit/loop_device.ts";
import { type Place, PLACES } from "../kit/places.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

setDefaultTimeout(RUN_LIMIT_MS);

/** Whole sectors, which a loop device consists of, but not whole chunks. */
const SIZE_BYTES = 20 * CHUNK_BYTES + 1536;
const HOLES = 10;
/** What the snapshots hold: tuesday differs from monday in two chunks. */
const MONDAY = Buffer.alloc(SIZE_BYTES);
MONDAY.set(noise(10 * CHUNK_BYTES, "monday"));
MONDAY.set(noise(1536, "end"), 20 * CHUNK_BYTES);
const CHANGES: TestRecord[] = [
  { tag: "w", offset: 3 * CHUNK_BYTES + 5, data: noise(100, "changed") },
  { tag: "w", offset: 7 * CHUNK_BYTES, data: noise(100, "changed, too") },
];
const TUESDAY = applied(MONDAY, CHANGES);
/** What somebody wrote since. */
const SINCE: TestRecord[] = [{ tag: "w", offset: 15 * CHUNK_BYTES - 1, data: noise(2, "since") }];
const NOW = applied(TUESDAY, SINCE);

function applied(base: Buffer, records: TestRecord[]): Buffer {
  const bytes = Buffer.from(base);
  for (const record of records) if (record.tag === "w") bytes.set(record.data, Number(record.offset));
  return bytes;
}

const stream = (name: { from?: string; to?: string }, records: TestRecord[]) =>
  encodeDiff([
    ...(name.from === undefined ? [] : [{ tag: "f", name: name.from } as const]),
    ...(name.to === undefined ? [] : [{ tag: "t", name: name.to } as const]),
    { tag: "s", sizeBytes: SIZE_BYTES },
    ...records,
    { tag: "e" },
  ]);

for (const [name, parts, start] of PLACES.filter(([name]) => name !== "radosgw")) {
  describeWith(parts, `varve restore from ${name}`, () => {
    const folder = scratchFolder();
    let place: Place;
    let bench: Workbench;
    let file: string;

    beforeAll(async () => {
      place = await start();
      bench = new Workbench(folder, place.env);
      file = bench.path("disk");
      await bench.json(["init", "acme", "--no-encryption", "--chunk-size", String(CHUNK_BYTES)]);
      const full = stream({ to: "monday" }, [{ tag: "w", offset: 0, data: MONDAY }]);
      await bench.json(["backup", "acme/vm"], { stdin: full });
      await bench.json(["backup", "acme/vm"], { stdin: stream({ from: "monday", to: "tuesday" }, CHANGES) });
    });
    afterAll(() => place?.stop());

    const restore = (point: string, args: string[], options: VarveOptions = {}) =>
      bench.json<RestoreReport>(["restore", `acme/vm@${point}`, ...args], options);
    const toFile = (point: string, ...args: string[]) => restore(point, ["--to", file, ...args]);
    const since = () => ({ stdin: stream({ from: "tuesday" }, SINCE) });

    test("takes the way new, leaves holes, and says the cost before", async () => {
      const planned = await toFile("tuesday", "--dry-run");
      expect(fs.existsSync(file)).toBe(false);
      const report = await toFile("tuesday");
      const chunks = { total: 21, zero: HOLES, matched: 0, written: 11 };
      expect(report).toMatchObject({
        way: "new",
        reason: `"${file}" is empty; there is nothing to compare`,
        chunks,
        read_bytes: 0,
      });
      expect(planned).toMatchObject({ way: "new", chunks, written_bytes: 0, downloaded_bytes: 0 });
      // Two are patches, which are fetched beside what they are over.
      const patches = 2 * CHUNK_BYTES / 4;
      expect(planned.dry_run).toEqual({ download_bytes_max: 11 * CHUNK_BYTES + patches });
      expectContent(file, TUESDAY);
      expect(fs.statSync(file).blocks * 512).toBeLessThanOrEqual(11 * CHUNK_BYTES);
    });

    test("takes the way unchanged to another point, and compares once it was written to", async () => {
      const report = await toFile("monday");
      expect(report).toMatchObject({ way: "unchanged", chunks: { matched: 19, written: 2 }, read_bytes: 0 });
      expectContent(file, MONDAY);
      const { mtime } = fs.statSync(file);
      fs.writeFileSync(file, NOW);
      fs.utimesSync(file, mtime, mtime);
      const planned = await toFile("monday", "--dry-run");
      expectContent(file, NOW);
      const compared = await toFile("monday");
      const chunks = { total: 21, matched: 17, written: 2, zero: 2 };
      expect(compared).toMatchObject({ way: "compare", chunks, read_bytes: SIZE_BYTES });
      expect(planned).toMatchObject({ way: "compare", chunks, read_bytes: SIZE_BYTES });
      expectContent(file, MONDAY);
      expect(await toFile("monday")).toMatchObject({ way: "unchanged", downloaded_bytes: 0 });
      const untrusted = await toFile("monday", "--no-trust-cache");
      expect(untrusted).toMatchObject({ way: "compare", chunks: { matched: 21 }, downloaded_bytes: 0 });
    });

    test("takes the way changes, by a stream on standard input or in a file", async () => {
      const stray = bench.path("since");
      fs.writeFileSync(stray, since().stdin);
      for (const [changes, options] of [["-", since()], [stray, {}]] as const) {
        fs.writeFileSync(file, NOW);
        const report = await restore("monday", [
          "--to",
          file,
          "--changed-since",
          "tuesday",
          "--changes",
          changes,
        ], options);
        expect(report).toMatchObject({
          way: "changes",
          chunks: { total: 21, matched: 17, written: 2, zero: 2 },
          read_bytes: 2 * CHUNK_BYTES,
        });
        expectContent(file, MONDAY);
      }
    });

    test("refuses changes since another snapshot, and a stream that is full or cut", async () => {
      fs.writeFileSync(file, NOW);
      const args = [
        "restore",
        "acme/vm@monday",
        "--to",
        file,
        "--changed-since",
        "tuesday",
        "--changes",
        "-",
      ];
      const streams: [Uint8Array, RegExp][] = [
        [
          stream({ from: "monday" }, SINCE),
          /the stream starts at snapshot "monday", but restore point \S+ has snapshot "tuesday"/,
        ],
        [stream({ to: "wednesday" }, SINCE), /the stream is a full export/],
        [since().stdin.slice(0, -1), /stream offset/],
        [new Uint8Array(), /standard input/],
      ];
      for (const [stdin, line] of streams) expectOneLine(await bench.run(args, { stdin }), { code: 1, line });
      expectContent(file, NOW);
    });

    test("reads everything back with --verify-target", async () => {
      fs.rmSync(file, { force: true });
      for (const way of ["new", "unchanged"]) {
        const report = await toFile("tuesday", "--verify-target");
        expect(report).toMatchObject({ way, verified_bytes: SIZE_BYTES });
      }
    });

    test.each([
      ["aligned", 2 * CHUNK_BYTES, 3 * CHUNK_BYTES],
      ["unaligned", 3 * CHUNK_BYTES - 7, 2 * CHUNK_BYTES + 100],
      ["at the end", 18 * CHUNK_BYTES + 9, 2 * CHUNK_BYTES + 1527],
    ])("restores a part that is %s, to a file and to standard output", async (_, offset, length) => {
      const part = ["--offset", String(offset), "--length", String(length)];
      const before = noise(SIZE_BYTES + 5000, "before");
      fs.writeFileSync(file, before);
      await toFile("tuesday", ...part);
      const wanted = Buffer.from(before);
      TUESDAY.copy(wanted, offset, offset, offset + length);
      expectContent(file, wanted);
      const { code, bytes } = await varveBytes(["restore", "acme/vm@tuesday", "--to", "-", ...part], {
        env: bench.env,
      });
      expect({ code, same: TUESDAY.subarray(offset, offset + length).equals(bytes) }).toEqual({
        code: 0,
        same: true,
      });
    });

    describe.skipIf(noLoopDevice !== undefined)(`onto a device (${noLoopDevice ?? "loop"})`, () => {
      const EXTRA_BYTES = 2 * CHUNK_BYTES + 512;
      const tail = Buffer.from(noise(EXTRA_BYTES, "tail"));

      /** A device that holds this, and `tail` behind it. */
      async function withDevice(content: Uint8Array, work: (device: string) => Promise<void>): Promise<void> {
        const backing = bench.path("backing");
        fs.writeFileSync(backing, Buffer.concat([content, tail]));
        const device = attachLoop(backing);
        try {
          await work(device);
        } finally {
          detachLoop(device);
        }
      }
      const expectDevice = (device: string, content: Uint8Array) =>
        expectContent(device, Buffer.concat([content, tail]));

      test("compares, and leaves what lies behind the volume", async () => {
        await withDevice(NOW, async (device) => {
          const planned = await restore("monday", ["--to", device, "--dry-run"]);
          expectDevice(device, NOW);
          const report = await restore("monday", ["--to", device, "--verify-target"]);
          expect(report).toMatchObject({
            way: "compare",
            chunks: { matched: 17, written: 2, zero: 2 },
            verified_bytes: SIZE_BYTES,
          });
          expect(planned).toMatchObject({ chunks: report.chunks, read_bytes: report.read_bytes });
          expectDevice(device, MONDAY);
        });
      });

      test("takes the way changes", async () => {
        await withDevice(NOW, async (device) => {
          const args = ["--to", device, "--changed-since", "tuesday", "--changes", "-", "--verify-target"];
          const report = await restore("monday", args, since());
          expect(report).toMatchObject({
            way: "changes",
            read_bytes: 2 * CHUNK_BYTES,
            verified_bytes: SIZE_BYTES,
          });
          expectDevice(device, MONDAY);
        });
      });

      test("restores a part, whole sectors or not", async () => {
        const before = Buffer.from(noise(SIZE_BYTES, "before"));
        await withDevice(before, async (device) => {
          for (
            const [offset, length] of [[512, 3 * CHUNK_BYTES], [14 * CHUNK_BYTES + 3, 77], [0, 1]] as const
          ) {
            await restore("tuesday", [
              "--to",
              device,
              "--offset",
              String(offset),
              "--length",
              String(length),
            ]);
            TUESDAY.copy(before, offset, offset, offset + length);
          }
          expectDevice(device, before);
        });
      });
    });
  });
}

describe("varve restore", () => {
  const bench = new Workbench(scratchFolder());
  beforeAll(async () => {
    await bench.json(["init", "acme", "--no-encryption"]);
    await bench.json(["backup", "acme/vm"], { stdin: stream({ to: "monday" }, []) });
  });

  test("knows a file that was backed up and not written to since", async () => {
    const file = bench.path("disk");
    fs.writeFileSync(file, NOW);
    await bench.json(["backup", "acme/raw", "--format", "raw", file]);
    const restore = () => bench.json<RestoreReport>(["restore", "acme/raw", "--to", file]);
    expect(await restore()).toMatchObject({ way: "unchanged", read_bytes: 0, downloaded_bytes: 0 });
    fs.writeFileSync(`${file}.new`, MONDAY);
    fs.renameSync(`${file}.new`, file);
    expect(await restore()).toMatchObject({ way: "compare" });
    expectContent(file, NOW);
  });

  test("logs which way it takes, and why, before it is done", async () => {
    const file = bench.path("logged");
    const { code, stdout, stderr } = await bench.run([
      "restore",
      "acme/vm",
      "--to",
      file,
      "--log-level",
      "info",
      "--log-format",
      "json",
    ]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    const lines = stderr.trim().split("\n").map((line) => JSON.parse(line) as { msg: string; way?: string });
    expect(lines.map(({ msg, way }) => ({ msg, way }))).toEqual([
      { msg: `"${file}" is empty; there is nothing to compare`, way: "new" },
      { msg: "restored", way: "new" },
    ]);
  });

  test("makes no stream in a dry run", async () => {
    const to = bench.path("stream");
    const args = ["--json", "restore", "acme/vm", "--format", "rbd-diff", "--dry-run", "--to", to];
    expect(await bench.run(args)).toMatchObject({ code: 0 });
    expect(fs.existsSync(to)).toBe(false);
    const { code, bytes } = await varveBytes([...args.slice(1, -1), "-"], { env: bench.env });
    expect({ code, bytes: bytes.length }).toEqual({ code: 0, bytes: 0 });
  });

  test.each([
    [["--to", "-", "--json"], /the volume is written to standard output/],
    [["--to", "x", "--from", "monday"], /--from and --head need --format rbd-diff/],
    [["--to", "x", "--head"], /--from and --head need --format rbd-diff/],
    [["--to", "x", "--changes", "-"], /--changed-since and --changes need each other/],
    [["--to", "x", "--changed-since", "monday"], /--changed-since and --changes need each other/],
    [
      ["--to", "x", "--format", "rbd-diff", "--changed-since", "monday", "--changes", "-"],
      /--changes cannot be used with --format rbd-diff/,
    ],
    [
      ["--to", "x", "--format", "rbd-diff", "--offset", "0"],
      /--offset and --length cannot be used with --format rbd-diff/,
    ],
    [
      ["--to", "x", "--format", "rbd-diff", "--verify-target"],
      /--verify-target needs a device or a raw file/,
    ],
    [["--to", "-", "--verify-target"], /--verify-target needs a device or a raw file/],
    [["--to", "x", "--offset", "9M"], /its size is 1312256 bytes/],
    [["--to", "x", "--offset", "-1"], /Expected a number of bytes/],
    [["--to", "x", "--limit-rate", "0"], /Expected bytes per second/],
    [["--to", "x", "--jobs", "0"], /Expected a whole number/],
  ])("exits with 2 and makes nothing for %p", async (args, line) => {
    const folder = fs.mkdtempSync(bench.path("cwd-"));
    expectOneLine(await bench.run(["restore", "acme/vm", ...args], { cwd: folder }), { code: 2, line });
    expect(fs.readdirSync(folder)).toEqual([]);
  });
});
