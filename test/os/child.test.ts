/** Producers that end well, badly, not at all; and that a stream is whole only with a good end. */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import { describeError } from "../../src/errors.ts";
import { encodeDiff, type TestRecord } from "../kit/rbd_stream.ts";
import { scratchPaths } from "../kit/scratch.ts";
import { errorOf, open, readAll } from "../kit/sources.ts";

const scratch = scratchPaths();

const RECORDS: TestRecord[] = [
  { tag: "s", sizeBytes: 100 },
  { tag: "w", offset: 0, data: new Uint8Array(50).fill(5) },
  { tag: "e" },
];
const STREAM = scratch("stream");
fs.writeFileSync(STREAM, encodeDiff(RECORDS));

/** A shell script that finds the stream's path in $0. */
function script(text: string) {
  return { command: ["sh", "-c", text, STREAM] };
}

describe("openSource() of a command", () => {
  test("gives its output's differences when it exits with 0", async () => {
    const source = await open({ command: ["cat", STREAM] });
    expect(source.name).toBe("cat");
    const [diff] = await readAll(source);
    expect(diff!.extents).toEqual([{ offset: 0, length: 50, data: new Uint8Array(50).fill(5) }]);
  });

  test.each([
    [
      "an exit code behind a whole stream",
      'cat "$0"; echo one >&2; printf "the last\\r\\n" >&2; exit 7',
      "it exited with code 7: the last",
    ],
    [
      "an exit code within the stream",
      'head -c 40 "$0"; echo broken >&2; exit 1',
      "it exited with code 1: broken",
    ],
    ["an exit code before any byte, without a word", "exit 3", "it exited with code 3"],
    ["an exit code behind text", "echo no; exit 4", "it exited with code 4"],
    ["a signal behind a whole stream", 'cat "$0"; kill -9 $$', "it was killed by SIGKILL"],
  ])("throws what ended it at %s", async (_, text, says) => {
    expect((await errorOf(readAll(await open(script(text))))).message).toBe(`Cannot complete "sh": ${says}`);
  });

  test("throws what ended it when it gives raw bytes", async () => {
    const source = await open(script("echo part; exit 5"), { format: "raw" });
    expect((await errorOf(readAll(source))).message).toBe('Cannot complete "sh": it exited with code 5');
  });

  test("throws what is wrong with the stream when the command is content with it", async () => {
    const error = await errorOf(readAll(await open(script('head -c 40 "$0"'))));
    expect(error.message).toContain('Cannot read "sh": the stream ends before its end record');
  });

  test("waits for what comes on stderr behind the command's end", async () => {
    const text = '(exec >&-; while kill -0 $$; do :; done 2>&-; echo late >&2) & cat "$0"; exit 6';
    const error = await errorOf(readAll(await open(script(text))));
    expect(error.message).toBe('Cannot complete "sh": it exited with code 6: late');
  });

  test("passes stderr on as it comes", async () => {
    const passed: Uint8Array[] = [];
    const stderr = { write: (bytes: Uint8Array) => passed.push(bytes.slice()) };
    await readAll(await open(script('echo Exporting >&2; cat "$0"; echo done >&2'), { stderr }));
    expect(Buffer.concat(passed).toString()).toBe("Exporting\ndone\n");
  });

  test("says so when there is no such command, or it is none", async () => {
    const missing = await errorOf(open({ command: ["varve-no-such-command", "x"] }));
    expect(describeError(missing)).toStartWith('Cannot run "varve-no-such-command": ');
    expect(describeError(await errorOf(open({ command: [STREAM] })))).toBe(
      `Cannot run "${STREAM}": permission denied (EACCES)`,
    );
    expect(await errorOf(open({ command: [] }))).toMatchObject({ code: "usage" });
  });

  test("close() ends a command that would run forever, and one that ignores SIGTERM", async () => {
    for (
      const text of ["echo $$ >&2; exec sleep 1000", "trap '' TERM; echo $$ >&2; while :; do sleep 0.1; done"]
    ) {
      const { pid, source } = await startedOf(text);
      await source.close();
      await source.close();
      expect(isRunning(pid)).toBe(false);
    }
  });

  test("an abort ends the command and fails the read with the signal's reason", async () => {
    const abort = new AbortController();
    const { pid, source } = await startedOf("echo $$ >&2; exec sleep 1000", abort.signal);
    const reading = errorOf(source.diffs().next());
    const reason = new Error("enough");
    abort.abort(reason);
    expect(await reading).toBe(reason);
    while (isRunning(pid)) await new Promise(setImmediate);
    await source.close();
  });
});

/** Starts a script that tells its process id on stderr. */
async function startedOf(text: string, signal = new AbortController().signal) {
  const { promise, resolve } = Promise.withResolvers<number>();
  const stderr = { write: (bytes: Uint8Array) => resolve(Number(Buffer.from(bytes).toString())) };
  const source = await open(script(text), { stderr, signal });
  return { pid: await promise, source };
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
