/** Where a stream's bytes come from: a file, a pipe or a producer of our own, as the stream sources see it. */
import { ByteReader, type ByteReaderOptions } from "./byte_reader.ts";
import type { Producer } from "./child.ts";
import { preparePipe } from "./pipes.ts";

export interface Input {
  reader: ByteReader;
  /** Closes the reader, ends the producer. Safe to call at any time and twice. */
  close(): Promise<void>;
}

/** What a producer of our own prints. */
export function producerInput(producer: Producer, options: ByteReaderOptions): Input {
  preparePipe(producer.fd);
  const reader = new ByteReader(producer.fd, options);
  return {
    reader,
    close: () => {
      reader.close();
      return producer.stop();
    },
  };
}
