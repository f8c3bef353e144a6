/** Whole reads and writes over a descriptor, on files and on pipes that are full or closed. */
import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import {
  closeFd,
  openFd,
  readFully,
  readSome,
  systemCode,
  truncateFd,
  writeFully,
  writeSome,
} from "../../src/os/fd.ts";
import { makePipe } from "../../src/os/pipes.ts";
import { noise } from "../kit/engine.ts";
import { setFlags } from "../kit/pipe_flags.ts";
import { rejection } from "../kit/rejection.ts";
import { scratchPaths } from "../kit/scratch.ts";

const path = scratchPaths();
const { O_CREAT, O_NONBLOCK, O_RDWR } = fs.constants;
const BYTES = noise(1, 1_000_003);

describe("writeFully() and readFully()", () => {
  test("write and read all bytes at a position", async () => {
    const fd = await openFd(path("file"), O_RDWR | O_CREAT, 0o600);
    await writeFully(fd, BYTES, 1000);
    const into = new Uint8Array(BYTES.length);
    expect(await readFully(fd, into, 1000)).toBe(BYTES.length);
    expect(Buffer.compare(into, BYTES)).toBe(0);
    await closeFd(fd);
  });

  test("readFully() tells how many bytes there were before the end", async () => {
    fs.writeFileSync(path("short"), "hello");
    const fd = await openFd(path("short"), O_RDWR);
    const into = new Uint8Array(8).fill(9);
    expect(await readFully(fd, into, 2)).toBe(3);
    expect(into).toEqual(Uint8Array.of(...Buffer.from("llo"), 9, 9, 9, 9, 9));
    expect(await readFully(fd, into, 5)).toBe(0);
    expect(await readSome(fd, into, 100)).toBe(0);
    await closeFd(fd);
  });

  test("writeFully() without a position goes on where the descriptor stands", async () => {
    const fd = await openFd(path("log"), O_RDWR | O_CREAT);
    await writeFully(fd, Buffer.from("one "), null);
    await writeFully(fd, Buffer.from("two"), null);
    await closeFd(fd);
    expect(fs.readFileSync(path("log"), "utf8")).toBe("one two");
  });

  test("writeFully() waits for a full pipe that does not block", async () => {
    const { readFd, writeFd } = makePipe();
    setFlags(writeFd, O_NONBLOCK);
    const writing = writeFully(writeFd, BYTES, null).then(() => closeFd(writeFd));
    const parts: Uint8Array[] = [];
    for await (const part of fs.createReadStream("", { fd: readFd })) parts.push(part as Uint8Array);
    await writing;
    expect(Buffer.compare(Buffer.concat(parts), BYTES)).toBe(0);
  });

  test("writeSome() writes nothing to a full pipe", async () => {
    const { readFd, writeFd } = makePipe();
    setFlags(writeFd, O_NONBLOCK);
    while (await writeSome(writeFd, BYTES, null) > 0);
    expect(await writeSome(writeFd, BYTES, null)).toBe(0);
    fs.closeSync(readFd);
    fs.closeSync(writeFd);
  });

  test("writeFully() throws when nobody reads the pipe any more", async () => {
    const { readFd, writeFd } = makePipe();
    fs.closeSync(readFd);
    expect(systemCode(await rejection(writeFully(writeFd, BYTES, null)))).toBe("EPIPE");
    fs.closeSync(writeFd);
  });
});

test("truncateFd() makes a file shorter and longer", async () => {
  const fd = await openFd(path("sized"), O_RDWR | O_CREAT);
  await writeFully(fd, Buffer.from("hello"), 0);
  await truncateFd(fd, 2);
  await truncateFd(fd, 4);
  await closeFd(fd);
  expect(fs.readFileSync(path("sized"), "latin1")).toBe("he\0\0");
});

test("systemCode() is the code of a system error, and of nothing else", async () => {
  expect(systemCode(await rejection(openFd(path("none"), O_RDWR)))).toBe("ENOENT");
  expect(systemCode(new Error("plain"))).toBeUndefined();
  expect(systemCode({ code: "ENOENT" })).toBeUndefined();
  expect(systemCode(undefined)).toBeUndefined();
});
