/** The flags of an open descriptor, as another process that shares it may have left them. */
import { dlopen } from "bun:ffi";
import { readFileSync } from "node:fs";

/** As the kernel shows them, open(2). */
export function flagsOf(fd: number): number {
  return parseInt(/flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))![1]!, 8);
}

export function setFlags(fd: number, flags: number): void {
  const F_SETFL = 4;
  const { symbols } = dlopen("libc.so.6", { fcntl: { args: ["i32", "i32", "i32"], returns: "i32" } });
  symbols.fcntl(fd, F_SETFL, flags);
}
