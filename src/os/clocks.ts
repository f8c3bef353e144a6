/**
 * The clocks of a Linux host. The wall clock is set by people and NTP; the monotonic one stands still while the host is
 * suspended; the one since boot (`/proc/uptime`, proc(5)) goes on. A virtual machine that is paused or rolled back may
 * stop all three, so what they say is a lower bound of the time that passed.
 */
import { readFileSync } from "node:fs";

/** Milliseconds by each clock; only differences mean anything. */
export function readSystemClocks(): Record<string, number> {
  return {
    "this host's wall clock": Date.now(),
    "this host's monotonic clock": performance.now(),
    ...sinceBoot(),
  };
}

/** Nothing where there is no `/proc`. */
function sinceBoot(): Record<string, number> {
  try {
    const seconds = Number.parseFloat(readFileSync("/proc/uptime", "utf8"));
    return Number.isNaN(seconds) ? {} : { "this host's clock since boot": seconds * 1000 };
  } catch {
    return {};
  }
}
