/**
 * System calls on pipes and sparse files. Where the C library cannot be loaded they all answer "no": only `makePipe` is
 * needed, the others make things faster.
 */
import { ptr, read } from "bun:ffi";
import { VarveError } from "../errors.ts";
import { lazily, openLibc } from "./libc.ts";

// Linux, the same on x86-64 and arm64 (fcntl.h, errno.h).
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;
const POLLHUP = 0x10;

/** What an unprivileged process may ask for by default (/proc/sys/fs/pipe-max-size). */
const PIPE_BYTES = 1024 * 1024;

const libc = lazily(() =>
  openLibc({
    pipe2: { args: ["ptr", "i32"], returns: "i32" },
    fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
    lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
    poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
    __errno_location: { args: [], returns: "ptr" },
  })
);

/**
 * Readies a pipe for fast, blocking reads: enlarged to 1 MiB (a default pipe of 64 KiB holds a producer to a third
 * of the rate), and no longer non-blocking, as a producer that shares it may have left it.
 */
export function preparePipe(fd: number): void {
  const c = libc();
  if (c === undefined) return;
  c.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
  const flags = c.fcntl(fd, F_GETFL, 0);
  if (flags >= 0 && (flags & O_NONBLOCK) !== 0) c.fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

/** A new pipe whose ends no child inherits unless told to. */
export function makePipe(): { readFd: number; writeFd: number } {
  const fds = new Int32Array(2);
  if ((libc()?.pipe2(ptr(fds), O_CLOEXEC) ?? -1) !== 0) {
    throw new VarveError("failed", "Cannot make a pipe: the C library or the system refused it");
  }
  return { readFd: fds[0]!, writeFd: fds[1]! };
}

/** Whether some process still holds the other end of a pipe that is read, whatever is left in it. `false` where it cannot be told. */
export function isHeldByWriter(readFd: number): boolean {
  // struct pollfd: the descriptor, no events that are asked for, and those that are there.
  const asked = new Int32Array([readFd, 0]);
  const c = libc();
  if (c === undefined || c.poll(ptr(asked), 1n, 0) < 0) return false;
  return ((asked[1]! >> 16) & POLLHUP) === 0;
}

/** A run of a file's bytes. A hole's bytes are all zero. */
interface Region {
  kind: "hole" | "data";
  offset: number;
  length: number;
}

/** The holes and the data of the first `sizeBytes` of a file, ascending; all data where the system cannot tell. */
export function* regions(fd: number, sizeBytes: number): Generator<Region> {
  for (let offset = 0; offset < sizeBytes;) {
    const data = Math.min(nextData(fd, offset) ?? sizeBytes, sizeBytes);
    if (data > offset) yield { kind: "hole", offset, length: data - offset };
    const hole = data < sizeBytes ? Math.min(nextHole(fd, data) ?? sizeBytes, sizeBytes) : sizeBytes;
    if (hole > data) yield { kind: "data", offset: data, length: hole - data };
    offset = hole;
  }
}

/**
 * Where the data from `offset` on begin; `undefined` where there are none. Only ENXIO says so: whatever else goes
 * wrong, the bytes are read.
 */
function nextData(fd: number, offset: number): number | undefined {
  const c = libc();
  if (c === undefined) return offset;
  const found = Number(c.lseek(fd, offset, SEEK_DATA));
  if (found >= offset) return found;
  const errno = c.__errno_location();
  return errno !== null && read.i32(errno, 0) === ENXIO ? undefined : offset;
}

function nextHole(fd: number, offset: number): number | undefined {
  const found = Number(libc()?.lseek(fd, offset, SEEK_HOLE) ?? -1);
  return found > offset ? found : undefined;
}
