/** Loads a native addon that is embedded in the one file, without unpacking it to where others may meddle with it. */
import { ptr } from "bun:ffi";
import { readFileSync, writeSync } from "node:fs";
import { getEnvironmentData, setEnvironmentData } from "node:worker_threads";
import { openLibc } from "./libc.ts";

/** memfd_create(2); the kernel since 6.3 wants to be told that the file itself is not a program to run. */
const MFD_CLOEXEC = 1;
const MFD_NOEXEC_SEAL = 8;

/**
 * What the addon exports whose file is embedded as `path`. Its bytes are in a file in memory that has no name, so no temporary
 * folder, nor how that is mounted, matters; a thread shares it with those that it starts. Throws where there is no such file or
 * no `/proc`.
 */
export function loadAddon(path: string): unknown {
  const known = getEnvironmentData(path);
  const file = typeof known === "string" ? known : copyToMemory(path);
  const module = { exports: {} };
  process.dlopen(module, file);
  setEnvironmentData(path, file);
  return module.exports;
}

/** The path of the copy, which stays open as long as the process runs. */
function copyToMemory(path: string): string {
  const fd = makeMemoryFile();
  const bytes = readFileSync(path);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
  return `/proc/self/fd/${fd}`;
}

function makeMemoryFile(): number {
  const libc = openLibc({ memfd_create: { args: ["ptr", "u32"], returns: "i32" } });
  const name = ptr(new Uint8Array(Buffer.from("varve addon\0")));
  for (const flags of [MFD_CLOEXEC | MFD_NOEXEC_SEAL, MFD_CLOEXEC]) {
    const fd = libc?.memfd_create(name, flags) ?? -1;
    if (fd >= 0) return fd;
  }
  throw new Error("Cannot load an addon: the system has no memory file (memfd)");
}
