/**
 * Who uses a block device or a file, in words for the error that refuses to overwrite it, or the warning that it is read
 * while it changes. Only what `/proc` and `/sys` tell at once; whether it is in use at all, the kernel decides
 * (`O_EXCL`) for devices.
 */
import * as fs from "node:fs";
import * as path from "node:path";

/** `number` is `MAJOR:MINOR`. `undefined` when nothing is found, which does not mean that it is free. */
export function describeDeviceUse(number: string): string | undefined {
  const folder = `/sys/dev/block/${number}`;
  const mounted = mountPoint(number);
  if (mounted !== undefined) return `mounted at "${mounted}"`;
  const holder = entries(`${folder}/holders`)[0];
  if (holder !== undefined) return `held by /dev/${holder}${mapperName(holder)}`;
  if (isSwap(folder)) return "used as swap";
  for (const partition of entries(folder).filter((name) => fs.existsSync(`${folder}/${name}/partition`))) {
    const use = describeDeviceUse(text(`${folder}/${partition}/dev`));
    if (use !== undefined) return `partitioned, and /dev/${partition} is ${use}`;
  }
  return undefined;
}

/** Whether a regular file backs a loop device, and what that is used for. */
export function describeFileUse(name: string): string | undefined {
  const [device] = loopDevices(name);
  if (device === undefined) return undefined;
  const use = describeDeviceUse(text(`/sys/block/${device}/dev`));
  return `the file behind /dev/${device}${use === undefined ? "" : `, which is ${use}`}`;
}

/** Where the device is mounted read-write: itself, a partition of it, or what is built on it. `number` is `MAJOR:MINOR`. */
export function writableDeviceMount(number: string): string | undefined {
  const folder = `/sys/dev/block/${number}`;
  const mounted = mountPoint(number, { isWritable: true });
  if (mounted !== undefined) return mounted;
  const parts = entries(folder).map((name) => `${folder}/${name}`).filter((part) =>
    fs.existsSync(`${part}/partition`)
  );
  const holders = entries(`${folder}/holders`).map((name) => `/sys/block/${name}`);
  return firstOf([...parts, ...holders], (device) => writableDeviceMount(text(`${device}/dev`)));
}

/** The same for a regular file, by the loop devices that it is behind. */
export function writableFileMount(name: string): string | undefined {
  return firstOf(loopDevices(name), (device) => writableDeviceMount(text(`/sys/block/${device}/dev`)));
}

function firstOf(devices: string[], look: (device: string) => string | undefined): string | undefined {
  for (const device of devices) {
    const found = look(device);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Those that the regular file is behind, by whichever of its names. */
function loopDevices(name: string): string[] {
  const inode = inodeOf(name);
  return entries("/sys/block").filter((device) => {
    if (!device.startsWith("loop")) return false;
    const file = text(`/sys/block/${device}/loop/backing_file`);
    return file === realPath(name) || inode !== undefined && inodeOf(file) === inode;
  });
}

/** One of all files; `undefined` where nothing can be found. */
function inodeOf(name: string): string | undefined {
  try {
    const { dev, ino } = fs.statSync(name, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** proc(5), mountinfo: `id parent MAJOR:MINOR root mount-point options [fields] - type source super-options`. */
function mountPoint(number: string, { isWritable = false } = {}): string | undefined {
  for (const line of text("/proc/self/mountinfo").split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    const fields = left.split(" ");
    if (isWritable && !/^rw(?:,|$)/.test(right.split(" ")[2] ?? "")) continue;
    // btrfs and other file systems over several devices have a number of their own: then the source tells.
    if (fields[2] === number || sourceNumber(right.split(" ")[1]) === number) {
      return unescape(fields[4] ?? "");
    }
  }
  return undefined;
}

function sourceNumber(source: string | undefined): string | undefined {
  if (!source?.startsWith("/dev/")) return undefined;
  try {
    return text(`/sys/class/block/${path.basename(fs.realpathSync(unescape(source)))}/dev`) || undefined;
  } catch {
    return undefined;
  }
}

function isSwap(folder: string): boolean {
  const device = `/dev/${path.basename(realPath(folder))}`;
  return text("/proc/swaps").split("\n").some((line) => line.split(/\s/)[0] === device);
}

function mapperName(holder: string): string {
  const name = text(`/sys/block/${holder}/dm/name`);
  return name === "" ? "" : ` (${name})`;
}

/** Spaces, tabs, newlines and backslashes are octal there. */
function unescape(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
}

function realPath(name: string): string {
  try {
    return fs.realpathSync(name);
  } catch {
    return name;
  }
}

function entries(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

function text(name: string): string {
  try {
    return fs.readFileSync(name, "utf8").trim();
  } catch {
    return "";
  }
}
