/** A producer of our own as a stream: its bytes come through, and closing ends both. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import type { Producer } from "../../src/os/child.ts";
import { producerInput } from "../../src/os/input.ts";
import { makePipe } from "../../src/os/pipes.ts";

test("producerInput() reads what the producer writes, and stops it once it is closed", async () => {
  const { readFd, writeFd } = makePipe();
  let stops = 0;
  const producer = { fd: readFd, stop: async () => void stops++ } as unknown as Producer;
  const input = producerInput(producer, { name: "test", signal: new AbortController().signal });
  fs.writeSync(writeFd, "hello");
  fs.closeSync(writeFd);
  expect(Buffer.from(await input.reader.take(5)).toString()).toBe("hello");
  expect(await input.reader.fill(new Uint8Array(1))).toBe(0);
  await input.close();
  expect(stops).toBe(1);
});
