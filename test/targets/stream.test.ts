/** StreamTarget on a pipe that takes only a part of a write, as one made non-blocking by another process does. */
import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { StreamTarget } from "../../src/targets/stream.ts";
import { run } from "../kit/loop_device.ts";

const SIZE_BYTES = 1 << 20;

test("write() writes everything when the pipe is non-blocking and full", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "varve-target-"));
  const name = path.join(folder, "fifo");
  run(["mkfifo", name]);
  const read = fs.promises.readFile(name);
  const both = fs.openSync(name, "r+"); // stands in for the reader until that has opened
  const writer = fs.openSync(name, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK);
  const target = new StreamTarget(writer, { name, startOffset: 0, signal: new AbortController().signal });
  const wanted = Uint8Array.from({ length: SIZE_BYTES }, (_, i) => i % 251);
  await target.write(0, wanted);
  await target.close();
  fs.closeSync(both);
  expect((await read).equals(wanted)).toBe(true);
  fs.rmSync(folder, { recursive: true });
});
