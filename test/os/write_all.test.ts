/** Synchronous writes to a file and to a pipe that fills up. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { makePipe } from "../../src/os/pipes.ts";
import { writeAll } from "../../src/os/write_all.ts";
import { noise } from "../kit/engine.ts";
import { setFlags } from "../kit/pipe_flags.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();
const BYTES = noise(1, 300_000);

test("writeAll() appends all bytes where the descriptor stands", () => {
  const fd = fs.openSync(path("file"), "w");
  writeAll(fd, BYTES);
  writeAll(fd, new Uint8Array());
  writeAll(fd, Buffer.from("end"));
  fs.closeSync(fd);
  expect(Buffer.compare(fs.readFileSync(path("file")), Buffer.concat([BYTES, Buffer.from("end")]))).toBe(0);
});

test("writeAll() waits for a full pipe that does not block", async () => {
  const { readFd, writeFd } = makePipe();
  setFlags(writeFd, fs.constants.O_NONBLOCK);
  const reader = Bun.spawn(["sh", "-c", "sleep 0.1; exec cksum"], { stdin: readFd, stdout: "pipe" });
  fs.closeSync(readFd);
  writeAll(writeFd, BYTES); // more than the pipe holds: this thread waits for the reader
  fs.closeSync(writeFd);
  const [, sizeBytes] = (await new Response(reader.stdout).text()).split(" ");
  expect(Number(sizeBytes)).toBe(BYTES.length);
});

test("writeAll() throws when nobody reads the pipe any more", () => {
  const { readFd, writeFd } = makePipe();
  fs.closeSync(readFd);
  expect(() => writeAll(writeFd, BYTES)).toThrow("EPIPE");
  fs.closeSync(writeFd);
});
