/** A file with holes. */
import * as fs from "node:fs";

const MIB = 1024 * 1024;

/** Makes the file of 5 MiB and 5 bytes (data, a hole of 2 MiB, data, a hole up to the end) and returns its path. */
export function sparseFile(path: string): string {
  const fd = fs.openSync(path, "w");
  fs.ftruncateSync(fd, 5 * MIB + 5);
  fs.writeSync(fd, new Uint8Array(MIB).fill(1), 0, MIB, 0);
  fs.writeSync(fd, new Uint8Array(MIB).fill(3), 0, MIB, 3 * MIB);
  fs.closeSync(fd);
  return path;
}
