/**
 * The leaf cache: for one volume, position → the front of the whole chunk's object there, as the store has it, so that
 * small writes are stored without reading anything back. A flat sparse file with a slot of 16 KiB for each position,
 * about 0.4 % of the volume; positions beyond the last slot share those of others. What comes out is opened and verified
 * like anything downloaded, so nothing is written with care: a torn or foreign slot is as good as an empty one.
 */
import { openOrMakeOwn, type OwnFile } from "../os/own_files.ts";
import type { OwnPath } from "../os/own_path.ts";

/** 1 GiB at a chunk size of 4 MiB: 256 GiB of volume. */
const MAX_SLOTS = 65_536;

export class LeafCache {
  readonly #file: OwnFile;
  readonly #slotBytes: number;

  private constructor(file: OwnFile, slotBytes: number) {
    this.#file = file;
    this.#slotBytes = slotBytes;
  }

  /** `slotBytes`: the most that a front can have. `undefined` where there cannot be such a file. */
  static async open(place: OwnPath, slotBytes: number): Promise<LeafCache | undefined> {
    const file = await openOrMakeOwn(place);
    return file && new LeafCache(file, slotBytes);
  }

  /** What may be the front of the object at the position. */
  async get(position: number): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(this.#slotBytes);
    try {
      return bytes.subarray(0, await this.#file.read(bytes, this.#offset(position)));
    } catch {
      return undefined;
    }
  }

  /** A cache that cannot be written is no reason to fail. */
  async put(position: number, front: Uint8Array): Promise<void> {
    await this.#file.write(front, this.#offset(position)).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close().catch(() => {});
  }

  #offset(position: number): number {
    return (position % MAX_SLOTS) * this.#slotBytes;
  }
}
