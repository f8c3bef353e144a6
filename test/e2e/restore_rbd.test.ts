/** Restores of images of a real cluster: onto a copy that is known but for its changes, and as a stream for `rbd import-diff`. */
import { afterEach, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { DEFAULT_CHUNK_BYTES } from "../../src/format/limits.ts";
import { OBJECT_TYPE } from "../../src/format/object.ts";
import { flipBit } from "../kit/damage.ts";
import { describeWith } from "../kit/parts.ts";
import { decodeAll, type TestRecord } from "../kit/rbd_stream.ts";
import { VARVE_BIN, varveBytes } from "../kit/varve.ts";
import { sumOfFile } from "../kit/chains.ts";
import { BOOT_LIMIT_MS, clusterRepository, TEST_LIMIT_MS } from "../kit/rbd_cluster.ts";
import {
  discard,
  KIB,
  MIB,
  RbdImage,
  rbdWords,
  shell,
  shellWords,
  type Word,
  write,
} from "../kit/rbd_image.ts";
import { RbdVolume } from "../kit/rbd_volume.ts";

const SIZE_BYTES = 40 * MIB;
/** The place of its type in an object's header (docs/format.md). */
const TYPE_AT = 6;

describeWith(["Ceph"], "varve restore and images of a real cluster", () => {
  const bench = clusterRepository();
  let volumes = 0;
  const file = () => bench.path("copy");
  /** Its image is as it was on tuesday; no test changes it. */
  let still: RbdVolume;
  beforeAll(async () => {
    still = await twoNights();
  }, BOOT_LIMIT_MS);
  afterEach(() => fs.rmSync(file(), { force: true }));

  /** An image with the snapshots monday and tuesday, both backed up; between them it may get another size. */
  async function twoNights(sizeBytes = SIZE_BYTES): Promise<RbdVolume> {
    const volume = await RbdVolume.create(bench, { name: `volume-${++volumes}`, sizeBytes: SIZE_BYTES });
    await volume.night("monday", {
      changes: [write(1, 0, 6 * MIB), write(2, 17 * MIB + 5, 300 * KIB), write(3, 39 * MIB, MIB)],
    });
    await volume.night("tuesday", {
      sizeBytes,
      changes: [write(4, 4 * MIB + 100, 5000), discard(17 * MIB, 2 * MIB), write(5, 29 * MIB, 100)],
    });
    return volume;
  }

  const spec = (volume: RbdVolume, point: string) => `${volume.name}@${point}`;
  const line = (...pipeline: Word[][]) => pipeline.map((words) => shellWords(words)).join(" | ");
  const run = (...pipeline: Word[][]) => shell(line(...pipeline), { env: bench.env });

  async function exportHead(volume: RbdVolume): Promise<void> {
    fs.rmSync(file(), { force: true });
    await volume.image.rbd("export", "--no-progress", volume.image.spec, file());
  }

  /** Bytes of the chunks that a stream names. */
  function namedBytes(stream: Uint8Array): number {
    const chunks = new Set<number>();
    for (const step of decodeAll(stream)) {
      if (step === "cut" || !("offset" in step)) continue;
      const end = step.offset + (step.kind === "data" ? step.data.length : step.length);
      for (let at = Math.floor(step.offset / DEFAULT_CHUNK_BYTES); at * DEFAULT_CHUNK_BYTES < end; at++) {
        chunks.add(at);
      }
    }
    return chunks.size * DEFAULT_CHUNK_BYTES;
  }

  test.each<[string, number, TestRecord[]]>([
    ["was written to, and discarded in part", SIZE_BYTES, [
      write(6, 9 * MIB - 3, 10),
      discard(0, 5 * MIB),
      write(7, 33 * MIB, 70_000),
    ]],
    ["has grown", SIZE_BYTES + 7 * MIB + 512, [write(6, SIZE_BYTES + 5, MIB)]],
    ["has shrunk into a chunk", 18 * MIB, [write(6, 3, 5)]],
  ])("brings a copy back by the changes since tuesday when the image %s", async (_, sizeBytes, changes) => {
    const volume = await twoNights();
    await volume.image.change(changes, sizeBytes);
    await exportHead(volume);
    const since = volume.image.exportDiff({ from: "tuesday" });
    const args = ["--to", file(), "--resize", "--changed-since", "tuesday", "--changes", "-"];
    const report = JSON.parse(
      Buffer.from(await run(since, [VARVE_BIN, "--json", "restore", spec(volume, "monday"), ...args]))
        .toString(),
    ) as RestoreReport;
    expect(report.way).toBe("changes");
    expect(await sumOfFile(file())).toEqual(await volume.image.exported("monday"));
    // The chunks that differ between the nights are written unseen: 1, 4 and 7; what the image lost is not there to read.
    const differing = 3 * DEFAULT_CHUNK_BYTES;
    expect(report.read_bytes).toBeLessThanOrEqual(namedBytes(await run(since)));
    expect(report.written_bytes).toBeLessThanOrEqual(
      differing + report.read_bytes + Math.max(0, SIZE_BYTES - sizeBytes),
    );
  }, TEST_LIMIT_MS);

  test("brings a copy back after the image has shrunk and grown again", async () => {
    const volume = await twoNights();
    await volume.image.change([], 10 * MIB);
    await volume.image.change([write(6, 30 * MIB, 5000)], SIZE_BYTES);
    await exportHead(volume);
    const args = ["--to", file(), "--changed-since", "tuesday", "--changes", "-"];
    await run(volume.image.exportDiff({ from: "tuesday" }), [
      VARVE_BIN,
      "restore",
      spec(volume, "tuesday"),
      ...args,
    ]);
    expect(await sumOfFile(file())).toEqual(await volume.image.exported("tuesday"));
  }, TEST_LIMIT_MS);

  test(
    "refuses the changes since another snapshot, a whole stream and one that is cut, and leaves the copy",
    async () => {
      const volume = still;
      await exportHead(volume);
      const before = await sumOfFile(file());
      const stream = await run(volume.image.exportDiff({ from: "tuesday" }));
      const streams = [
        await run(volume.image.exportDiff({ from: "monday" })),
        await run(volume.image.exportDiff({})),
        stream.slice(0, -1),
      ];
      for (const stdin of streams) {
        const args = [
          "restore",
          spec(volume, "monday"),
          "--to",
          file(),
          "--changed-since",
          "tuesday",
          "--changes",
          "-",
        ];
        expect(await bench.run(args, { stdin })).toMatchObject({
          code: 1,
          stderr: expect.stringMatching(/^varve: [^\n]+\n$/),
        });
      }
      expect(await sumOfFile(file())).toEqual(before);
    },
    TEST_LIMIT_MS,
  );

  const diffOf = (
    volume: RbdVolume,
    point: string,
    ...args: string[]
  ): Word[] => [VARVE_BIN, "restore", spec(volume, point), "--to", "-", "--format", "rbd-diff", ...args];
  const importInto = ({ spec }: RbdImage): Word[] => rbdWords("import-diff", "--no-progress", "-", spec);

  test.each([
    ["keeps its size", SIZE_BYTES],
    ["grew between the points", SIZE_BYTES + 6 * MIB + 512],
    ["shrank between the points", 30 * MIB],
  ])(
    "rolls an image back, and forward again, by streams between two points when it %s",
    async (_, sizeBytes) => {
      const volume = await twoNights(sizeBytes);
      const { image } = volume;
      const [monday, tuesday] = [await image.exported("monday"), await image.exported("tuesday")];
      await run(diffOf(volume, "monday", "--from", "tuesday", "--head"), importInto(image));
      expect(await image.exported()).toEqual(monday);
      await image.change([write(8, 5, 50_000), discard(8 * MIB, 4 * MIB)], monday.size_bytes);
      await image.rbd("snap", "rollback", "--no-progress", `${image.spec}@monday`);
      await run(diffOf(volume, "tuesday", "--from", "monday", "--head"), importInto(image));
      expect(await image.exported()).toEqual(tuesday);
    },
    TEST_LIMIT_MS,
  );

  test("refuses to make a snapshot that the image has, unless told not to", async () => {
    const volume = still;
    const failed = run(diffOf(volume, "monday", "--from", "tuesday"), importInto(volume.image));
    expect(await failed.then(() => "no error", String)).toContain("monday");
    expect(await volume.image.exported()).toEqual(await volume.image.exported("tuesday"));
  }, TEST_LIMIT_MS);

  test("makes a new image of a whole stream, and brings it on from there", async () => {
    const volume = still;
    const made = await RbdImage.create(bench.env, { sizeBytes: SIZE_BYTES });
    await run(diffOf(volume, "monday"), importInto(made));
    await run(diffOf(volume, "tuesday", "--from", "monday"), importInto(made));
    for (const point of ["monday", "tuesday"]) {
      expect(await made.exported(point)).toEqual(await volume.image.exported(point));
    }
    expect(await made.exported()).toEqual(await volume.image.exported("tuesday"));
  }, TEST_LIMIT_MS);

  test("has no record of what is the same in both points", async () => {
    const volume = still;
    const steps = decodeAll(await run(diffOf(volume, "monday", "--from", "tuesday")));
    expect(steps[0]).toMatchObject({ sizeBytes: SIZE_BYTES });
    const offsets = steps.flatMap((step) =>
      step !== "cut" && "offset" in step ? [step.offset / DEFAULT_CHUNK_BYTES] : []
    );
    expect(offsets).toEqual([1, 4, 7]);
  }, TEST_LIMIT_MS);

  /** The repository with a bit turned over in every chunk. */
  function damagedEnv(): Record<string, string> {
    const damaged = bench.path("damaged");
    fs.cpSync(bench.path("repository"), damaged, { recursive: true });
    const env = {
      ...bench.env,
      VARVE_REPO: damaged,
      XDG_CACHE_HOME: bench.path("no-cache"),
      XDG_STATE_HOME: bench.path("no-cache/state"),
    };
    const chunks = join(damaged, "projects/acme/chunks");
    const names = fs.readdirSync(chunks, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile()
    );
    for (const { parentPath, name } of names) {
      const path = join(parentPath, name);
      const bytes = fs.readFileSync(path);
      if (bytes[TYPE_AT] !== OBJECT_TYPE.page) fs.writeFileSync(path, flipBit(bytes, bytes.length * 4));
    }
    return env;
  }

  test(
    "ends a stream without its end record, and with 3, when a chunk is damaged, and rbd refuses it",
    async () => {
      const env = damagedEnv();
      for (const options of [[], ["--keep-going"]]) {
        const [, ...args] = diffOf(still, "monday", "--from", "tuesday", "--head", ...options) as string[];
        const { code, bytes, stderr } = await varveBytes(args, { env });
        expect({ code, stderr }).toEqual({
          code: 3,
          stderr: expect.stringMatching(/^varve: Cannot restore [^\n]+\n$/),
        });
        expect(() => decodeAll(bytes)).toThrow();
        const refused = await shell(line(importInto(still.image)), { env, stdin: bytes }).then(
          () => "taken",
          String,
        );
        expect(refused).toContain("exited with");
      }
    },
    TEST_LIMIT_MS,
  );
});
