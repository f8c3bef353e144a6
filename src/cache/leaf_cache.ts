/**
 * The leaf cache: for one volume, position → the front of the whole chunk's object there, as the store has it, so that
 * small writes are stored without reading anything back. A flat sparse file with a slot of 16 KiB for each position,
 * about 0.4 % of the volume; positions beyond the last slot share those of others. What comes out is opened and verified
 * like anything downloaded, so nothing is written with care: a torn or foreign slot is as good as an empty one.
 */
import { constants } from "node:fs";
import { closeFd, readFully, writeFully } from "../os/fd.ts";
import { type CachePath, openOrMakeCached } from "./cache_folder.ts";

/** 1 GiB at a chunk size of 4 MiB: 256 GiB of volume. */
const MAX_SLOTS = 65_536;

export class LeafCache {
  readonly #fd: number;
  readonly #slotBytes: number;

  private constructor(fd: number, slotBytes: number) {
    this.#fd = fd;
    this.#slotBytes = slotBytes;
  }

  /** `slotBytes`: the most that a front can have. `undefined` where there cannot be such a file. */
  static async open(place: CachePath, slotBytes: number): Promise<LeafCache | undefined> {
    const fd = await openOrMakeCached(place, constants.O_RDWR).catch(() => undefined);
    return fd === undefined ? undefined : new LeafCache(fd, slotBytes);
  }

  /** What may be the front of the object at the position. */
  async get(position: number): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(this.#slotBytes);
    try {
      return bytes.subarray(0, await readFully(this.#fd, bytes, this.#offset(position)));
    } catch {
      return undefined;
    }
  }

  /** A cache that cannot be written is no reason to fail. */
  async put(position: number, front: Uint8Array): Promise<void> {
    await writeFully(this.#fd, front, this.#offset(position)).catch(() => {});
  }

  async close(): Promise<void> {
    await closeFd(this.#fd).catch(() => {});
  }

  #offset(position: number): number {
    return (position % MAX_SLOTS) * this.#slotBytes;
  }
}
