/** Whole, synchronous writes to standard output and standard error, which both may be pipes that fill up. */
import * as fs from "node:fs";
import { FULL_PIPE_WAIT_MS, systemCode } from "./fd.ts";

/** Synchronous, so that nothing is lost when the process exits next. Throws system errors. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSome(fd, bytes.subarray(done));
}

function writeSome(fd: number, bytes: Uint8Array): number {
  try {
    return fs.writeSync(fd, bytes);
  } catch (error) {
    if (systemCode(error) !== "EAGAIN") throw error;
    Bun.sleepSync(FULL_PIPE_WAIT_MS);
    return 0;
  }
}
