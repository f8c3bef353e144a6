/** A target in memory that keeps account of what was done to it. */
import type { Target } from "../../src/targets/target.ts";

export class MemoryTarget implements Target {
  readonly name = "memory";
  readonly empty: boolean;
  readonly readableBytes: number;
  readonly gaps: "kept" | "zeros";
  readonly file = undefined;
  readonly bytes: Uint8Array;
  /** Ranges in the order of their writing. */
  readonly writes: { offset: number; length: number }[] = [];
  synced = false;
  closed = false;

  readonly #onRead: (offset: number) => void;

  /** Of `sizeBytes` and empty, or over `content`, which stands on it already. */
  constructor(
    sizeBytes: number,
    options: { content?: Uint8Array; sequential?: boolean; onRead?: (offset: number) => void } = {},
  ) {
    this.bytes = new Uint8Array(Math.max(sizeBytes, options.content?.length ?? 0));
    this.bytes.set(options.content ?? []);
    this.gaps = options.sequential === true ? "zeros" : "kept";
    this.empty = options.content === undefined && options.sequential !== true;
    this.readableBytes = options.content?.length ?? 0;
    this.#onRead = options.onRead ?? (() => {});
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    if (offset + into.length > this.readableBytes) throw new Error("the target was read past its end");
    this.#onRead(offset);
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#note(offset, bytes.length);
    this.bytes.set(bytes, offset);
  }

  async zero(offset: number, length: number): Promise<void> {
    this.#note(offset, length);
    this.bytes.fill(0, offset, offset + length);
  }

  async sync(): Promise<void> {
    this.synced = true;
  }

  async dropCache(): Promise<void> {}

  async close(): Promise<void> {
    this.closed = true;
  }

  #note(offset: number, length: number): void {
    const last = this.writes.at(-1);
    const next = last === undefined ? 0 : last.offset + last.length;
    if (this.gaps === "zeros" && offset !== next) {
      throw new Error(`a stream was written at ${offset}, not at ${next}`);
    }
    this.synced = false;
    this.writes.push({ offset, length });
  }
}
