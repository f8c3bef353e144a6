/**
 * Whole reads and writes over a file descriptor, in the thread pool, so that a slow device or a full pipe never
 * blocks the main thread.
 */
import * as fs from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";

/** How long to wait before writing again to a pipe that another process made non-blocking and that is full. */
export const FULL_PIPE_WAIT_MS = 5;

export const openFd: (path: string, flags: number, mode?: number) => Promise<number> = promisify(fs.open);
export const closeFd: (fd: number) => Promise<void> = promisify(fs.close);
export const syncFd: (fd: number) => Promise<void> = promisify(fs.fsync);
export const truncateFd: (fd: number, sizeBytes: number) => Promise<void> = promisify(fs.ftruncate);

/** The `code` of a system error (`ENOSPC`), if it is one. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** Writes all of `bytes` at `position`, or where the descriptor stands if that is `null`. Throws system errors. */
export async function writeFully(fd: number, bytes: Uint8Array, position: number | null): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const at = position === null ? null : position + done;
    done += await writeSome(fd, bytes.subarray(done), at);
  }
}

/** Fills `into` from `position` and returns how many bytes there were before the end of the file. */
export async function readFully(fd: number, into: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const count = await readSome(fd, into.subarray(done), position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** Writes some of `bytes`; how many. None of them to a full pipe that does not block. */
export async function writeSome(fd: number, bytes: Uint8Array, position: number | null): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  fs.write(fd, bytes, 0, bytes.length, position, (error, count) => error ? reject(error) : resolve(count));
  try {
    return await promise;
  } catch (error) {
    if (systemCode(error) !== "EAGAIN") throw error;
    await wait(FULL_PIPE_WAIT_MS);
    return 0;
  }
}

/** Reads some bytes, none at the end of the file; how many. */
export function readSome(fd: number, into: Uint8Array, position: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  fs.read(fd, into, 0, into.length, position, (error, count) => error ? reject(error) : resolve(count));
  return promise;
}
