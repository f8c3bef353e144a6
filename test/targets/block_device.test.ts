/** openTarget() on real loop devices: sizes, and that one in use is refused. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { describeError } from "../../src/errors.ts";
import { deviceNumber } from "../../src/targets/block_device.ts";
import { openTarget } from "../../src/targets/open.ts";
import { attachLoop, detachLoop, noLoopDevice, run } from "../kit/loop_device.ts";

const MIB = 1 << 20;
const DEVICE_BYTES = 16 * MIB;
const signal = new AbortController().signal;

test("deviceNumber() splits a device's number as Linux packs it", () => {
  expect(deviceNumber(0x0700n)).toBe("7:0");
  expect(deviceNumber(0x10305n)).toBe("259:5");
  expect(deviceNumber((0x12n << 20n) | (0xfcn << 8n) | 0x34n)).toBe(`252:${0x1234}`);
});

describe.skipIf(noLoopDevice !== undefined)(`block devices (${noLoopDevice ?? "loop"})`, () => {
  let folder: string;
  let file: string;
  let device: string;

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-target-"));
    file = path.join(folder, "disk.img");
    fs.writeFileSync(file, Buffer.alloc(DEVICE_BYTES, 0x5a));
    device = attachLoop(file);
  });
  afterEach(() => {
    detachLoop(device);
    fs.rmSync(folder, { recursive: true });
  });

  async function withMount(work: (mountPoint: string) => Promise<void>): Promise<void> {
    const mountPoint = path.join(folder, "mount point");
    fs.mkdirSync(mountPoint);
    run(["mkfs.ext4", "-q", device]);
    run(["mount", device, mountPoint]);
    try {
      await work(mountPoint);
    } finally {
      run(["umount", mountPoint]);
    }
  }

  async function failure(name: string, sizeBytes: number): Promise<string> {
    const error = await openTarget(name, { sizeBytes, force: false, signal }).then(
      (target) => target.close(),
      (e) => e,
    );
    return describeError(error ?? "no error");
  }

  test("openTarget() reads, writes and zeroes in place when the device is free", async () => {
    const target = await openTarget(device, { sizeBytes: DEVICE_BYTES - MIB, force: false, signal });
    expect(target).toMatchObject({ empty: false, readableBytes: DEVICE_BYTES, gaps: "kept" });
    await target.zero(MIB, 2 * MIB);
    await target.zero(100, 100); // not a multiple of its sector size
    await target.write(4 * MIB + 1, new Uint8Array(3).fill(0x11));
    await target.sync();
    await target.close();
    const wanted = Buffer.alloc(DEVICE_BYTES, 0x5a).fill(0, MIB, 3 * MIB).fill(0, 100, 200).fill(
      0x11,
      4 * MIB + 1,
      4 * MIB + 4,
    );
    expect(wanted.equals(fs.readFileSync(device))).toBe(true);
  });

  test("openTarget() throws with both sizes when the device is too small", async () => {
    const sizes = `with ${DEVICE_BYTES} bytes for a volume of ${DEVICE_BYTES + 1}`;
    expect(await failure(device, DEVICE_BYTES + 1)).toBe(
      `Cannot restore to "${device}": it is too small ${sizes}`,
    );
  });

  test("openTarget() throws and names the mount point when the device is mounted", async () => {
    await withMount(async (mountPoint) => {
      const text = await failure(device, MIB);
      expect(text).toStartWith(
        `Cannot restore to "${device}": it is mounted at "${mountPoint}"; use --force`,
      );
    });
  });

  test("openTarget() throws when another program holds the device", async () => {
    const holder = await openTarget(device, { sizeBytes: MIB, force: false, signal });
    const text = await failure(device, MIB);
    await holder.close();
    expect(text).toStartWith(`Cannot restore to "${device}": it is in use by another program or driver`);
  });

  test("openTarget() opens a mounted device when forced", async () => {
    await withMount(async () => {
      const target = await openTarget(device, { sizeBytes: MIB, force: true, signal });
      await target.close();
    });
  });

  test("openTarget() throws when a file is behind a loop device, unless forced", async () => {
    const text = await failure(file, DEVICE_BYTES);
    expect(text).toBe(
      `Cannot restore to "${file}": it is the file behind ${device}; use --force to write to it anyway`,
    );
    await withMount(async (mountPoint) => {
      expect(await failure(file, MIB)).toContain(`${device}, which is mounted at "${mountPoint}"`);
    });
    const target = await openTarget(file, { sizeBytes: DEVICE_BYTES, force: true, signal });
    await target.close();
  });
});
