/** System calls on pipes, and the holes of sparse files. */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import { makePipe, preparePipe, regions } from "../../src/os/pipes.ts";
import { flagsOf, setFlags } from "../kit/pipe_flags.ts";
import { scratchPaths } from "../kit/scratch.ts";
import { sparseFile } from "../kit/sparse_file.ts";

const path = scratchPaths();
const MIB = 1024 * 1024;
const { O_NONBLOCK } = fs.constants;

describe("makePipe()", () => {
  test("makes a pipe that no child inherits", () => {
    const { readFd, writeFd } = makePipe();
    fs.writeSync(writeFd, "hello");
    fs.closeSync(writeFd);
    expect(fs.readFileSync(readFd, "utf8")).toBe("hello");
    const O_CLOEXEC = 0o2000000;
    expect(flagsOf(readFd) & O_CLOEXEC).toBe(O_CLOEXEC);
    fs.closeSync(readFd);
  });
});

describe("preparePipe()", () => {
  test("makes a pipe hold 1 MiB", () => {
    const { readFd, writeFd } = makePipe();
    preparePipe(readFd);
    // Would wait forever in a pipe of the usual 64 KiB.
    expect(fs.writeSync(writeFd, new Uint8Array(1024 * 1024))).toBe(1024 * 1024);
    fs.closeSync(readFd);
    fs.closeSync(writeFd);
  });

  test("makes the reads of a pipe wait that its producer left non-blocking", () => {
    const { readFd, writeFd } = makePipe();
    setFlags(readFd, O_NONBLOCK);
    expect(flagsOf(readFd) & O_NONBLOCK).toBe(O_NONBLOCK);
    preparePipe(readFd);
    expect(flagsOf(readFd) & O_NONBLOCK).toBe(0);
    fs.closeSync(readFd);
    fs.closeSync(writeFd);
  });
});

describe("regions()", () => {
  test("are the data and the holes of a file, in order and without a gap", () => {
    const fd = fs.openSync(sparseFile(path("sparse")), "r");
    expect([...regions(fd, 5 * MIB + 5)]).toEqual([
      { kind: "data", offset: 0, length: MIB },
      { kind: "hole", offset: MIB, length: 2 * MIB },
      { kind: "data", offset: 3 * MIB, length: MIB },
      { kind: "hole", offset: 4 * MIB, length: MIB + 5 },
    ]);
    expect([...regions(fd, 0)]).toEqual([]);
    fs.closeSync(fd);
  });

  test("are all data where the system cannot tell", () => {
    const fd = fs.openSync("/dev/null", "r");
    expect([...regions(fd, 100)]).toEqual([{ kind: "data", offset: 0, length: 100 }]);
    fs.closeSync(fd);
  });

  test("end with the size when the file has grown since", () => {
    const fd = fs.openSync(sparseFile(path("grown")), "r");
    expect([...regions(fd, MIB / 2)]).toEqual([{ kind: "data", offset: 0, length: MIB / 2 }]);
    expect([...regions(fd, 2 * MIB)].at(-1)).toEqual({ kind: "hole", offset: MIB, length: MIB });
    fs.closeSync(fd);
  });
});
