/** Where a stream's bytes come from: a file, a pipe or a producer of our own, as the stream sources see it. */
import type { ByteReader } from "./byte_reader.ts";

export interface Input {
  reader: ByteReader;
  /** Closes the reader, ends the producer. Safe to call at any time and twice. */
  close(): Promise<void>;
}
