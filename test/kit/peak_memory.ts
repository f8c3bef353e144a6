/** How much memory a process has taken. */
import { readFileSync } from "node:fs";

/** The most memory that the process had until now, in KiB; 0 once it has ended. What its parent had does not count. */
export function peakOf(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
