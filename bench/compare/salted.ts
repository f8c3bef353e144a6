/** Prints an image COPIES times, each 4 MiB made different by 8 bytes: a stream of any length whose chunks are all new. */
import { openSync, readSync, writeSync } from "node:fs";

const [image, copies] = process.argv.slice(2);
if (image === undefined || copies === undefined) throw new Error("usage: salted.ts IMAGE COPIES");
const chunk = new Uint8Array(4 * 1024 * 1024);
const salt = new DataView(chunk.buffer);
for (let copy = 0, number = 1; copy < Number(copies); copy++) {
  const file = openSync(image, "r");
  for (let read; (read = readSync(file, chunk, 0, chunk.length, null)) > 0; number++) {
    salt.setBigUint64(0, BigInt(number), true);
    for (let at = 0; at < read;) at += writeSync(1, chunk, at, read - at);
  }
}
