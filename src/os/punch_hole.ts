/** System calls on targets: zeroing a range, and dropping what the page cache has of a file. */
import { lazily, openLibc } from "./libc.ts";

/** linux/falloc.h: `FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE`. */
const PUNCH_HOLE_KEEP_SIZE = 0x01 | 0x02;
/** linux/fadvise.h. */
const POSIX_FADV_DONTNEED = 4;

const libc = lazily(() =>
  openLibc({
    fallocate: { args: ["i32", "i32", "i64", "i64"], returns: "i32" },
    posix_fadvise: { args: ["i32", "i64", "i64", "i32"], returns: "i32" },
  })
);

/**
 * Linux `fallocate` with `FALLOC_FL_PUNCH_HOLE`: the one way to zero a range that frees the space and is sure to read as
 * zeros, on files and (since Linux 4.9) on block devices, whose driver must promise zeros or refuse. `false` where the
 * kernel, the file system or the device cannot do it; the range may then hold anything.
 */
export function punchHole(fd: number, range: { offset: number; length: number }): boolean {
  return libc()?.fallocate(fd, PUNCH_HOLE_KEEP_SIZE, BigInt(range.offset), BigInt(range.length)) === 0;
}

/** Drops the clean pages of a file or device: what is read next comes from the device. `false` where that failed. */
export function dropPages(fd: number): boolean {
  return libc()?.posix_fadvise(fd, 0n, 0n, POSIX_FADV_DONTNEED) === 0;
}
