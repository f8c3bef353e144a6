/** What is opened how, and what is refused before a byte is read. */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import { describeError } from "../../src/errors.ts";
import { encodeDiff } from "../kit/rbd_stream.ts";
import { scratchPaths } from "../kit/scratch.ts";
import { errorOf, makeFifo, open, readAll, readStdin } from "../kit/sources.ts";

const scratch = scratchPaths();
const EMPTY_DIFF = encodeDiff([{ tag: "s", sizeBytes: 77 }, { tag: "e" }]);

describe("openSource()", () => {
  test("takes standard input, a pipe or a file, for an rbd stream", async () => {
    fs.writeFileSync(scratch("stream"), EMPTY_DIFF);
    const read = (shell: string, format: "auto" | "raw") => readStdin(scratch, { shell, format });
    expect(await read(`cat ${scratch("stream")} | "$0" "$1"`, "auto")).toBe("standard input 77");
    expect(await read(`"$0" "$1" < ${scratch("stream")}`, "auto")).toBe("standard input 77");
    const sizeBytes = EMPTY_DIFF.length;
    expect(await read(`"$0" "$1" < ${scratch("stream")}`, "raw")).toBe(`standard input ${sizeBytes}`);
  });

  test("refuses a terminal as a wrong use", async () => {
    const shell = `script -qec "'$0' '$1'" /dev/null < /dev/null`;
    const says = 'usage Cannot read "standard input": it is a terminal; pipe a stream in';
    expect(await readStdin(scratch, { shell, format: "auto" })).toBe(says);
  });

  test("names what is not there, and a folder", async () => {
    const missing = await errorOf(open(scratch("missing")));
    expect(missing).toMatchObject({ code: "failed" });
    expect(describeError(missing)).toBe(
      `Cannot open "${scratch("missing")}": no such file or directory (ENOENT)`,
    );
    expect(await errorOf(open("/"))).toMatchObject({
      code: "usage",
      message: 'Cannot read "/": it is a directory',
    });
  });

  test("fails with the signal's reason when a named pipe's writer does not come", async () => {
    const abort = new AbortController();
    const fifo = makeFifo(scratch("nobody"));
    const opening = errorOf(open(fifo, { signal: abort.signal }));
    const reason = new Error("enough");
    abort.abort(reason);
    expect(await opening).toBe(reason);
    expect(await errorOf(open(fifo, { signal: abort.signal }))).toBe(reason);
    // The thread that still waits in open() is let go.
    fs.closeSync(fs.openSync(fifo, "w"));
  });

  test("says what to do when a file is no rbd stream", async () => {
    fs.writeFileSync(scratch("text"), "just a text\n");
    const error = await errorOf(readAll(await open(scratch("text"))));
    expect(error.message).toContain('it starts with "just a text\\x0a", not with "rbd diff v1"');
    expect(error.message).toContain("--format raw");
  });
});
