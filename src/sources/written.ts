/** Whether somebody writes to a file or device that is read: who has it mounted, and what its writes leave behind. */
import fs from "node:fs";
import { readFile } from "node:fs/promises";
import { syncFd } from "../os/fd.ts";
import { writableDeviceMount, writableFileMount } from "../os/in_use.ts";
import { deviceNumber } from "./raw.ts";

/** Of `/sys/dev/block/MAJOR:MINOR/stat` (Documentation/block/stat.rst): sectors that were written, and discarded. */
const WRITTEN_FIELDS = [6, 13];

/** One line where what is read is mounted read-write; `path` is of a regular file, or for the line only. */
export function sayWritableMount(
  stats: Pick<fs.Stats, "rdev" | "isFile">,
  { path, warn }: { path: string; warn: (line: string) => void },
): void {
  const mount = stats.isFile() ? writableFileMount(path) : writableDeviceMount(deviceNumber(stats.rdev));
  if (mount === undefined) return;
  warn(
    `"${path}" is mounted read-write at "${mount}": the backup may be inconsistent; use a snapshot or fsfreeze`,
  );
}

/** Of a regular file its size and times; of a device how much was written to it since the system began. */
export async function writesOf(fd: number, stats: Pick<fs.Stats, "rdev" | "isFile">): Promise<string> {
  if (stats.isFile()) {
    const { size, mtimeNs, ctimeNs } = fs.fstatSync(fd, { bigint: true });
    return `${size} ${mtimeNs} ${ctimeNs}`;
  }
  // What was written before and is still in memory is counted when it gets to the disk.
  await syncFd(fd).catch(() => {});
  const text = await readFile(`/sys/dev/block/${deviceNumber(stats.rdev)}/stat`, "utf8").catch(() => "");
  const fields = text.trim().split(/\s+/);
  return WRITTEN_FIELDS.map((at) => fields[at] ?? "").join(" ");
}
