/** Real block devices as sources and as targets of the built program, and a qcow2 image that qemu-nbd serves. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { linkSync, truncateSync, writeFileSync } from "node:fs";
import type { BackupReport } from "../../src/engine/backup/backup.ts";
import type { RestoreReport } from "../../src/engine/restore/restore.ts";
import { noise } from "../kit/engine.ts";
import { describeWith } from "../kit/parts.ts";
import { attachLoop, detachLoop, noLoopDevice, run } from "../kit/loop_device.ts";
import { sumOf, sumOfFile } from "../kit/chains.ts";
import { scratchFolder } from "../kit/scratch.ts";
import { Workbench } from "../kit/workbench.ts";

const MIB = 1 << 20;
/** Whole sectors, which a loop device consists of, but not whole chunks. */
const SIZE_BYTES = 18 * MIB + 512;
const LIMIT_MS = 60_000;

describe.skipIf(noLoopDevice !== undefined)(`varve and block devices (${noLoopDevice ?? "loop"})`, () => {
  const bench = new Workbench(scratchFolder());
  const file = bench.path("disk");
  let device: string;

  beforeAll(async () => {
    writeFileSync(file, new Uint8Array(SIZE_BYTES));
    device = attachLoop(file);
    await bench.json(["init", "acme", "--no-encryption"]);
  }, LIMIT_MS);
  afterAll(() => device === undefined || detachLoop(device));

  /** Through the device, so that its cache knows. */
  const writeDevice = (bytes: Uint8Array, offset: number) => {
    const source = bench.path("bytes");
    writeFileSync(source, bytes);
    run([
      "dd",
      `if=${source}`,
      `of=${device}`,
      "bs=64K",
      `seek=${offset}`,
      "oflag=seek_bytes",
      "conv=notrunc,fsync",
    ]);
  };
  const readDevice = () => sumOfFile(device);

  test("a device is a source, and what has not changed is not sent again", async () => {
    writeDevice(noise(1, 9 * MIB), 0);
    writeDevice(noise(2, 512), SIZE_BYTES - 512);
    const first = await bench.json<BackupReport>(["backup", "acme/device", device]);
    const before = await readDevice();
    expect(before.size_bytes).toBe(SIZE_BYTES);
    expect(first).toMatchObject({ size_bytes: SIZE_BYTES, chunks: { total: 5, new: 4, zero: 1 } });

    writeDevice(noise(3, 1000), 5 * MIB);
    const second = await bench.json<BackupReport>(["backup", "acme/device", device]);
    expect(second.chunks).toMatchObject({ total: 5, new: 0, patched: 1, reused: 3, zero: 1 });
    expect(await bench.restoreToPipe("acme/device@~1")).toEqual(before);
    expect(await bench.restoreToPipe("acme/device")).toEqual(await readDevice());
  }, LIMIT_MS);

  test("a device on standard input is a source, too", async () => {
    writeDevice(noise(4, 5000), MIB);
    await bench.json(["backup", "acme/stdin"], { stdin: Bun.file(device) });
    expect(await bench.restoreToPipe("acme/stdin")).toEqual(await readDevice());
  }, LIMIT_MS);

  test("a device is a target: what differs is written, zeros over old data too", async () => {
    const volume = new Uint8Array(SIZE_BYTES);
    volume.set(noise(5, 6 * MIB), 4 * MIB);
    writeFileSync(bench.path("volume"), volume);
    await bench.json(["backup", "acme/target", bench.path("volume"), "--format", "raw"]);
    writeDevice(noise(6, SIZE_BYTES), 0);
    const args = ["restore", "acme/target", "--to", device];
    await bench.json(args);
    expect(await readDevice()).toEqual(sumOf(volume));

    writeDevice(noise(7, 100), 9 * MIB);
    const report = await bench.json<RestoreReport>(args);
    expect(report).toMatchObject({ chunks: { total: 5, matched: 4, written: 1 }, written_bytes: 4 * MIB });
    expect(await readDevice()).toEqual(sumOf(volume));
  }, LIMIT_MS);

  test("a device that is too small is refused, and stays as it was", async () => {
    writeFileSync(bench.path("larger"), noise(8, SIZE_BYTES + 512));
    await bench.json(["backup", "acme/larger", bench.path("larger"), "--format", "raw"]);
    const before = await readDevice();
    const { code, stderr } = await bench.run(["restore", "acme/larger", "--to", device]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `varve: Cannot restore to "${device}": it is too small with ${SIZE_BYTES} bytes for a ` +
        `volume of ${SIZE_BYTES + 512}\n`,
    });
    expect(await readDevice()).toEqual(before);
  }, LIMIT_MS);

  test("a mounted device is refused without --force, and stays as it was", async () => {
    const small = bench.path("mounted");
    writeFileSync(small, "");
    truncateSync(small, 8 * MIB);
    run(["mkfs.ext4", "-q", small]);
    await bench.json(["backup", "acme/file-system", small, "--format", "raw"]);
    const mounted = attachLoop(small);
    const mountPoint = bench.path("mount point");
    run(["mkdir", mountPoint]);
    run(["mount", "-o", "ro", mounted, mountPoint]);
    try {
      const before = await sumOfFile(mounted);
      const { code, stderr } = await bench.run(["restore", "acme/file-system", "--to", mounted]);
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringContaining(`it is mounted at "${mountPoint}"`),
      });
      expect(await sumOfFile(mounted)).toEqual(before);
      // So is the file behind it, by any of its names.
      const second = bench.path("second name");
      linkSync(small, second);
      for (const to of [small, second]) {
        expect(await bench.run(["restore", "acme/file-system", "--to", to])).toMatchObject({
          code: 1,
          stderr: expect.stringContaining(
            `it is the file behind ${mounted}, which is mounted at "${mountPoint}"`,
          ),
        });
      }
      expect(await bench.run(["restore", "acme/file-system", "--to", mounted, "--force"])).toMatchObject({
        code: 0,
      });
    } finally {
      run(["umount", mountPoint]);
      detachLoop(mounted);
    }
  }, LIMIT_MS);

  test("a file system comes back mountable, with its files", async () => {
    const disk = bench.path("file system");
    writeFileSync(disk, "");
    truncateSync(disk, 16 * MIB);
    const content = noise(9, 3 * MIB);
    writeFileSync(bench.path("content"), content);
    run(["mkfs.ext4", "-q", disk]);
    run(["debugfs", "-w", "-R", `write "${bench.path("content")}" content`, disk]);
    const source = attachLoop(disk);
    try {
      await bench.json(["backup", "acme/ext4", source]);
    } finally {
      detachLoop(source);
    }
    await bench.json(["restore", "acme/ext4", "--to", device]);
    run(["e2fsck", "-fn", device]);
    run(["debugfs", "-R", `dump content "${bench.path("dumped")}"`, device]);
    expect(await sumOfFile(bench.path("dumped"))).toEqual(sumOf(content));
  }, LIMIT_MS);
});

describeWith(["qemu", "nbdcopy"], "varve and a qcow2 image", () => {
  const bench = new Workbench(scratchFolder());
  const image = bench.path("disk.qcow2");
  /** `nbdcopy` starts qemu-nbd by itself, and ends it. */
  const served = ["[", "qemu-nbd", "--persistent", "--format=qcow2", image, "]"];

  test("goes there and back through qemu-nbd", async () => {
    await bench.json(["init", "acme", "--no-encryption"]);
    const volume = new Uint8Array(SIZE_BYTES);
    volume.set(noise(10, 5 * MIB), 3 * MIB);
    const raw = bench.path("raw");
    writeFileSync(raw, volume);
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image]);
    const producer = ["nbdcopy", "--", ...served, "-"];
    await bench.json(["backup", "acme/qcow2", "--format", "raw", "--exec", "--", ...producer]);
    run(["qemu-io", "-c", "write -P 7 0 9M", image]);
    const restored = bench.path("restored");
    expect(await bench.restoreToFile("acme/qcow2", restored)).toEqual(sumOf(volume));
    run(["nbdcopy", "--", restored, ...served]);
    run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, image]);
  }, LIMIT_MS);
});
