/**
 * A block device as a target. It is opened with `O_EXCL`, which Linux refuses while the device (or a partition of
 * it) is mounted, swapped to, or held by another driver, and which keeps it from being mounted during the restore.
 */
import * as fs from "node:fs";
import { VarveError } from "../errors.ts";
import { DirectFile } from "../os/direct_file.ts";
import { closeFd, openFd, systemCode } from "../os/fd.ts";
import { describeDeviceUse } from "../os/in_use.ts";
import { RandomAccessTarget } from "./random_access.ts";
import type { Target } from "./target.ts";

/** The unit of `/sys/dev/block/MAJOR:MINOR/size`, whatever the device's own sector size. */
const SYSFS_SECTOR_BYTES = 512;

interface DeviceOptions {
  sizeBytes: number;
  force: boolean;
  /** Only to compare with. */
  readOnly: boolean;
  /** `st_rdev`. */
  device: bigint;
}

/**
 * Throws `VarveError` when the device is smaller than `sizeBytes`, or in use without `force`. What lies on a larger
 * device beyond `sizeBytes` is left as it is.
 */
export async function openBlockDevice(name: string, options: DeviceOptions): Promise<Target> {
  const number = deviceNumber(options.device);
  const deviceBytes = deviceSizeBytes(name, number);
  if (deviceBytes < options.sizeBytes) {
    const sizes = `with ${deviceBytes} bytes for a volume of ${options.sizeBytes}`;
    throw new VarveError("failed", `Cannot restore to "${name}": it is too small ${sizes}`);
  }
  const fd = options.readOnly
    ? await openFd(name, fs.constants.O_RDONLY)
    : await openUnused(name, { number, force: options.force });
  try {
    assertNotSwapped(name, { fd, device: options.device });
  } catch (error) {
    await closeFd(fd);
    throw error;
  }
  const handle = await DirectFile.over(fd, options.readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR);
  return new RandomAccessTarget(handle, { name, empty: false, readableBytes: deviceBytes });
}

/** `MAJOR:MINOR` of an `st_rdev`, as Linux packs it (glibc `gnu_dev_major`, `gnu_dev_minor`). */
export function deviceNumber(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

function deviceSizeBytes(name: string, number: string): number {
  try {
    return Number(fs.readFileSync(`/sys/dev/block/${number}/size`, "utf8")) * SYSFS_SECTOR_BYTES;
  } catch (cause) {
    throw new VarveError("failed", `Cannot restore to "${name}": its size cannot be read`, { cause });
  }
}

async function openUnused(name: string, options: { number: string; force: boolean }): Promise<number> {
  try {
    return await openFd(name, fs.constants.O_RDWR | fs.constants.O_EXCL);
  } catch (cause) {
    if (systemCode(cause) !== "EBUSY") throw cause;
    if (options.force) return await openFd(name, fs.constants.O_RDWR);
    const use = describeDeviceUse(options.number) ?? "in use by another program or driver";
    const message = `Cannot restore to "${name}": it is ${use}; use --force to write to it anyway`;
    throw new VarveError("failed", message, { cause });
  }
}

/** The name may have come to mean another device since its size was read. */
function assertNotSwapped(name: string, options: { fd: number; device: bigint }): void {
  const now = fs.fstatSync(options.fd, { bigint: true });
  if (now.isBlockDevice() && now.rdev === options.device) return;
  throw new VarveError("failed", `Cannot restore to "${name}": it was replaced by another device`);
}
