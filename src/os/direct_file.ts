/**
 * A file whose blocks go past the page cache (`O_DIRECT`, open(2)): without a copy, and without pushing out of memory what
 * the host needs there. What is not a whole block, and everything where the file system or the device refuses, goes the
 * usual way; Linux keeps both ways coherent.
 */
import { ptr } from "bun:ffi";
import * as fs from "node:fs";
import { closeFd, openFd, readFully, readSome, systemCode, writeFully, writeSome } from "./fd.ts";

/** Neither sectors nor what devices ask of addresses in memory are larger. */
const BLOCK_BYTES = 4096;
/** Less than this is not worth a request of its own. */
const DIRECT_BYTES_MIN = 64 * 1024;

export class DirectFile {
  /** For everything else that is done to the file. */
  readonly fd: number;
  readonly #directFd: number | undefined;
  #refused = false;

  private constructor(fd: number, directFd: number | undefined) {
    this.fd = fd;
    this.#directFd = directFd;
  }

  /** Takes over `fd`, which is open for `access`: `O_RDONLY`, `O_WRONLY` or `O_RDWR`. */
  static async over(fd: number, access: number): Promise<DirectFile> {
    const opened = openFd(`/proc/self/fd/${fd}`, access | fs.constants.O_DIRECT);
    return new DirectFile(fd, await opened.catch(() => undefined));
  }

  /** Fills `into` from `offset`; how many bytes there were before the end of the file. Throws system errors. */
  async read(into: Uint8Array, offset: number): Promise<number> {
    const done = await this.#directly(readSome, into, offset);
    return done + await readFully(this.fd, into.subarray(done), offset + done);
  }

  /** Writes all of `bytes` at `offset`. Throws system errors. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    const done = await this.#directly(writeSome, bytes, offset);
    await writeFully(this.fd, bytes.subarray(done), offset + done);
  }

  async close(): Promise<void> {
    if (this.#directFd !== undefined) await closeFd(this.#directFd);
    await closeFd(this.fd);
  }

  /** One transfer of the whole blocks at the front of `bytes`; how many bytes it moved. */
  async #directly(transfer: typeof readSome, bytes: Uint8Array, offset: number): Promise<number> {
    const length = bytes.length - bytes.length % BLOCK_BYTES;
    if (this.#directFd === undefined || this.#refused || length < DIRECT_BYTES_MIN) return 0;
    if (offset % BLOCK_BYTES !== 0 || ptr(bytes) % BLOCK_BYTES !== 0) return 0;
    try {
      return await transfer(this.#directFd, bytes.subarray(0, length), offset);
    } catch (error) {
      if (systemCode(error) !== "EINVAL") throw error;
      this.#refused = true;
      return 0;
    }
  }
}
