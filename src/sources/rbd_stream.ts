/** The source over an rbd stream: drives the decoder, and lets the consumer read extents straight off the pipe. */
import { decodeRbdStream } from "../rbd/export.ts";
import { type RbdStep, streamEndsEarly } from "../rbd/steps.ts";
import { dataExtent } from "./data_extent.ts";
import type { Input } from "../os/input.ts";
import type { Extent, Source, VolumeDiff } from "./source.ts";

type Record = Exclude<RbdStep, { kind: "need" }>;

export class RbdStreamSource implements Source {
  readonly #input: Input;
  readonly #warn: (line: string) => void;
  readonly #decoding;
  #bytes: Uint8Array = new Uint8Array();

  /** `warn` is told of a difference that ends at no snapshot. */
  constructor(input: Input, warn: (line: string) => void = () => {}) {
    this.#input = input;
    this.#warn = warn;
    this.#decoding = decodeRbdStream(input.reader.name);
  }

  get name(): string {
    return this.#input.reader.name;
  }

  get bytesRead(): number {
    return this.#input.reader.offset;
  }

  /** Each difference's extents must be read to their end before the next is asked for. */
  async *diffs(): AsyncGenerator<VolumeDiff> {
    for (let record = await this.#next(); record !== undefined; record = await this.#next()) {
      if (record.kind !== "diff") throw new Error("The extents of a difference were not read to their end");
      const { fromSnapshot, toSnapshot, sizeBytes } = record;
      if (toSnapshot === undefined) {
        const why =
          "it cannot be the base of an increment, and it may be inconsistent if the image was being written to";
        this.#warn(`"${this.name}" does not end at a snapshot: ${why}; export a snapshot`);
      }
      yield { fromSnapshot, toSnapshot, sizeBytes, extents: () => this.#extents() };
    }
  }

  close(): Promise<void> {
    return this.#input.close();
  }

  async *#extents(): AsyncGenerator<Extent> {
    for (;;) {
      const record = await this.#next();
      if (record?.kind === "zero") yield record;
      else if (record?.kind === "data") yield* dataExtent(record, (into) => this.#fill(into));
      else return;
    }
  }

  async #fill(into: Uint8Array): Promise<void> {
    if (await this.#input.reader.fill(into) < into.length) throw streamEndsEarly(this.name, this.bytesRead);
  }

  /** The next record, `undefined` behind the last. */
  async #next(): Promise<Record | undefined> {
    for (;;) {
      const step = this.#decoding.next(this.#bytes);
      if (step.done === true) return undefined;
      if (step.value.kind !== "need") return step.value;
      this.#bytes = await this.#input.reader.take(step.value.sizeBytes);
    }
  }
}
