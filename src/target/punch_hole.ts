/**
 * Linux `fallocate` with `FALLOC_FL_PUNCH_HOLE`: the one way to zero a range that frees the space and is sure to
 * read as zeros, on files and (since Linux 4.9) on block devices, whose driver must promise zeros or refuse.
 */
import { dlopen, FFIType } from "bun:ffi";

/** linux/falloc.h: `FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE`. */
const PUNCH_HOLE_KEEP_SIZE = 0x01 | 0x02;

/** glibc's name, then musl's on each processor. */
const LIBC_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const SYMBOLS = {
  fallocate: { args: [FFIType.i32, FFIType.i32, FFIType.i64, FFIType.i64], returns: FFIType.i32 },
} as const;

type Fallocate = (fd: number, mode: number, offset: bigint, length: bigint) => number;

let fallocate: Fallocate | undefined | null = null;

/** `false` where the kernel, the file system or the device cannot do it; the range may then hold anything. */
export function punchHole(fd: number, range: { offset: number; length: number }): boolean {
  if (fallocate === null) fallocate = load();
  return fallocate?.(fd, PUNCH_HOLE_KEEP_SIZE, BigInt(range.offset), BigInt(range.length)) === 0;
}

function load(): Fallocate | undefined {
  for (const name of LIBC_NAMES) {
    try {
      return dlopen(name, SYMBOLS).symbols.fallocate;
    } catch {
      // Another libc, or no FFI on this platform: the caller writes zeros instead.
    }
  }
  return undefined;
}
