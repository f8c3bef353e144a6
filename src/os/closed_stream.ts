/** A standard stream that whoever started the process had closed (`>&-`). */
import { readFileSync } from "node:fs";

/** Of `/proc/PID/fdinfo`: the flags that it was opened with, octal. Linux, `O_CLOEXEC`. */
const CLOSE_ON_EXEC = 0o2000000;

/**
 * Whether the stream was closed when the process began. The runtime puts its own `/dev/null` there, closed on exec, which no
 * descriptor that was handed on can be: whatever is written goes nowhere, and nobody would say so.
 */
export function wasClosed(fd: number): boolean {
  try {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
    return (parseInt(flags ?? "0", 8) & CLOSE_ON_EXEC) !== 0;
  } catch {
    return false;
  }
}
