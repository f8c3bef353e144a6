/** Sources that somebody writes to while the built program reads them, or may: what it says, and what it believes later. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  ftruncateSync,
  linkSync,
  openSync,
  readdirSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { messages } from "../kit/log.ts";
import { encodeDiff } from "../kit/rbd_stream.ts";
import { noise, RUN_LIMIT_MS } from "../kit/repository.ts";
import { startVarve, type VarveResult } from "../kit/varve.ts";
import { attachLoop, detachLoop, noLoopDevice, run } from "../kit/loop_device.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

setDefaultTimeout(RUN_LIMIT_MS);

const MIB = 1 << 20;
const SIZE_BYTES = 24 * MIB;
const MOVED = "was written to while it was being read; the backup may be inconsistent";

async function made(): Promise<Workbench> {
  const bench = new Workbench(scratchFolder());
  await bench.json(["init", "acme", "--no-encryption"]);
  return bench;
}

/** Backs the path up slowly; `meanwhile` runs once a part of it is stored. */
async function backUp(bench: Workbench, path: string, meanwhile: () => void): Promise<VarveResult> {
  const args = ["backup", "acme/disk", path, "--format", "raw", "--limit-rate", "8M", "--jobs", "1"];
  const child = startVarve(args, { env: bench.env });
  const chunks = bench.path("repository/projects/acme/chunks");
  while (!existsSync(chunks) || readdirSync(chunks).length === 0) await Bun.sleep(5);
  meanwhile();
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, stdout, stderr };
}

describe("varve backup of a raw file", () => {
  test.each<[string, (fd: number) => void, string]>([
    ["is written to", (fd) => writeSync(fd, "x", 5), MOVED],
    [
      "is cut and grown again",
      (fd) => (ftruncateSync(fd, SIZE_BYTES - 1), ftruncateSync(fd, SIZE_BYTES)),
      MOVED,
    ],
    ["is left alone", () => {}, ""],
  ])("that %s while it is read", async (_, change, says) => {
    const bench = await made();
    const file = bench.path("disk");
    writeFileSync(file, noise(SIZE_BYTES, "disk"));
    const fd = openSync(file, "r+");
    const { code, stderr } = await backUp(bench, file, () => change(fd));
    expect({ code, said: messages(stderr).join("\n") }).toEqual({
      code: 0,
      said: says === "" ? "" : `"${file}" ${says}`,
    });
    // Only a file that was left alone may be taken for the point without a look.
    const { way } = await bench.json<RestoreReport>(["restore", "acme/disk", "--to", file]);
    if (says !== "") expect(way).toBe("compare");
    expect(await bench.restoreToPipe("acme/disk")).toEqual(await bench.restoreToFile("acme/disk", file));
  });
});

test("varve backup says that a stream of an image's head is no base, and may be a mixture", async () => {
  const bench = await made();
  const stream = (...snapshot: string[]) =>
    encodeDiff([
      ...snapshot.map((name) => ({ tag: "t", name }) as const),
      { tag: "s", sizeBytes: 100 },
      { tag: "w", offset: 0, data: new Uint8Array(10).fill(1) },
      { tag: "e" },
    ]);
  const head = await bench.run(["backup", "acme/head"], { stdin: stream() });
  expect(head.code).toBe(0);
  expect(messages(head.stderr)).toEqual([
    expect.stringMatching(/^"standard input" does not end at a snapshot: .*; export a snapshot$/),
  ]);
  expect(await bench.run(["backup", "acme/named"], { stdin: stream("s1") })).toMatchObject({
    code: 0,
    stderr: "",
  });
});

describe.skipIf(noLoopDevice !== undefined)(`varve backup of a device (${noLoopDevice ?? "loop"})`, () => {
  const withLoop = async <T>(file: string, use: (device: string) => Promise<T>): Promise<T> => {
    const device = attachLoop(file);
    try {
      return await use(device);
    } finally {
      detachLoop(device);
    }
  };

  test("says where it is mounted read-write, also of the file behind it by any name, and not where it is read-only", async () => {
    const bench = await made();
    const file = bench.path("disk");
    writeFileSync(file, "");
    truncateSync(file, 8 * MIB);
    run(["mkfs.ext4", "-q", file]);
    const second = bench.path("second name");
    linkSync(file, second);
    await withLoop(file, async (device) => {
      const mount = bench.path("mount point");
      run(["mkdir", mount]);
      for (const options of ["rw", "ro"]) {
        run(["mount", "-o", options, device, mount]);
        try {
          for (const path of [device, file, second]) {
            const { code, stderr } = await bench.run(["backup", "acme/disk", path, "--format", "raw"]);
            expect(code).toBe(0);
            const line = `"${path}" is mounted read-write at "${mount}": the backup may be inconsistent; ` +
              "use a snapshot or fsfreeze";
            if (options === "rw") expect(stderr).toContain(line);
            else expect(stderr).toBe("");
          }
        } finally {
          run(["umount", mount]);
        }
      }
      expect(await bench.run(["backup", "acme/disk", device])).toMatchObject({ code: 0, stderr: "" });
    });
  });

  test("says that it was written to while it was read", async () => {
    const bench = await made();
    const file = bench.path("disk");
    writeFileSync(file, noise(SIZE_BYTES, "disk"));
    await withLoop(file, async (device) => {
      const { code, stderr } = await backUp(
        bench,
        device,
        () => run(["dd", "if=/dev/zero", `of=${device}`, "bs=4K", "count=1", "conv=notrunc,fsync"]),
      );
      expect({ code, said: messages(stderr).join("\n") }).toEqual({ code: 0, said: `"${device}" ${MOVED}` });
    });
  });

  test("names the place of a read error", async () => {
    const bench = await made();
    const file = bench.path("disk");
    writeFileSync(file, noise(SIZE_BYTES, "disk"));
    await withLoop(file, async (device) => {
      truncateSync(file, 10 * MIB); // what lies behind is lost
      const { code, stderr } = await bench.run(["backup", "acme/disk", device]);
      expect(code).toBe(1);
      const [, offset] = /^varve: Cannot read ".*" at offset (\d+): .*\(EIO\)/m.exec(stderr)!;
      expect(Number(offset)).toBeGreaterThanOrEqual(8 * MIB);
      expect(Number(offset)).toBeLessThanOrEqual(12 * MIB);
      expect((await bench.run(["list", "acme/disk"])).code).toBe(4);
    });
  });
});
