/** Where a stream's bytes come from: a file, a pipe or a producer of our own, as the stream sources see it. */
import { ByteReader, type ByteReaderOptions } from "./byte_reader.ts";
import type { Producer } from "./child.ts";
import { isHeldByWriter, preparePipe } from "./pipes.ts";

/** How long a process that a child left behind may hold the child's output before that is told. */
const HELD_MS = 5000;

export interface Input {
  reader: ByteReader;
  /** Closes the reader, ends the producer. Safe to call at any time and twice. */
  close(): Promise<void>;
}

interface ProducerInputOptions extends Omit<ByteReaderOptions, "position"> {
  /** Told where the producer has ended and its output has not, for a process that it started still holds it. */
  warn?: ((line: string) => void) | undefined;
}

/** What a producer of our own prints. It is whole only at its end, however long the producer has been gone by then. */
export function producerInput(producer: Producer, { warn, ...options }: ProducerInputOptions): Input {
  preparePipe(producer.fd);
  const forget = warn === undefined ? () => {} : tellIfHeld(producer, warn);
  const reader = new ByteReader(producer.fd, {
    ...options,
    atEnd: async () => {
      forget();
      await options.atEnd?.();
    },
  });
  return {
    reader,
    close: () => {
      forget();
      reader.close();
      return producer.stop();
    },
  };
}

/** What is returned has to be called before the output is closed. */
function tellIfHeld(producer: Producer, warn: (line: string) => void): () => void {
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  const tell = () => {
    if (!isHeldByWriter(producer.fd)) return;
    warn(
      `"${producer.name}" has ended, but a process that it started still holds its output: waiting for that`,
    );
  };
  void producer.exited().then(() => {
    if (!isOver) timer = setTimeout(tell, HELD_MS);
  });
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}
