/** Who uses a device or a file: in words for an error, by a real loop device that is free, mounted, and used as swap. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import {
  describeDeviceUse,
  describeFileUse,
  writableDeviceMount,
  writableFileMount,
} from "../../src/os/in_use.ts";
import { attachLoop, detachLoop, noLoopDevice } from "../kit/loop_device.ts";
import { runAsRoot, unmount } from "../kit/mounts.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();

test("a file behind no device, and a device that is not there, are used by nobody", () => {
  fs.writeFileSync(path("plain"), "x");
  for (const name of [path("plain"), path("none")]) {
    expect(describeFileUse(name)).toBeUndefined();
    expect(writableFileMount(name)).toBeUndefined();
  }
  expect(describeDeviceUse("4095:1")).toBeUndefined();
  expect(writableDeviceMount("4095:1")).toBeUndefined();
});

describe.skipIf(noLoopDevice !== undefined)(`a loop device (${noLoopDevice ?? "root"})`, () => {
  const file = path("disk");
  /** With a character that mountinfo escapes. */
  const mounted = path("a mount");
  let device: string;
  let number: string;

  beforeAll(() => {
    fs.writeFileSync(file, "");
    fs.truncateSync(file, 16 << 20);
    device = attachLoop(file);
    const { rdev } = fs.statSync(device);
    number = `${rdev >>> 8 & 0xfff}:${rdev & 0xff}`;
    runAsRoot(["/sbin/mkfs.ext4", "-q", device]);
    fs.mkdirSync(mounted);
  });
  afterAll(() => {
    unmount(mounted);
    detachLoop(device);
  });

  test("is used by nobody but is named for the file behind it", () => {
    expect(describeDeviceUse(number)).toBeUndefined();
    expect(describeFileUse(file)).toBe(`the file behind ${device}`);
    expect(writableFileMount(file)).toBeUndefined();
  });

  test("is mounted, for reading alone or for writing", () => {
    runAsRoot(["mount", "-o", "ro", device, mounted]);
    expect(describeDeviceUse(number)).toContain(`"${mounted}"`);
    expect(describeFileUse(file)).toContain(`"${mounted}"`);
    expect([writableDeviceMount(number), writableFileMount(file)]).toEqual([undefined, undefined]);
    runAsRoot(["mount", "-o", "remount,rw", mounted]);
    expect([writableDeviceMount(number), writableFileMount(file)]).toEqual([mounted, mounted]);
    runAsRoot(["umount", mounted]);
    expect(describeDeviceUse(number)).toBeUndefined();
  });
});
