/**
 * Who uses a block device or a file, in words for the error that refuses to overwrite it. Only what `/proc` and
 * `/sys` tell at once; whether it is in use at all, the kernel decides (`O_EXCL`) for devices.
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
  const real = fs.realpathSync(name);
  for (const device of entries("/sys/block").filter((name) => name.startsWith("loop"))) {
    if (text(`/sys/block/${device}/loop/backing_file`) !== real) continue;
    const use = describeDeviceUse(text(`/sys/block/${device}/dev`));
    return `the file behind /dev/${device}${use === undefined ? "" : `, which is ${use}`}`;
  }
  return undefined;
}

/** proc(5), mountinfo: `id parent MAJOR:MINOR root mount-point options [fields] - type source super-options`. */
function mountPoint(number: string): string | undefined {
  for (const line of text("/proc/self/mountinfo").split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    const fields = left.split(" ");
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
