/** A standard stream that was closed at the start is told from one that is there, whatever it leads to. */
import { expect, test } from "bun:test";

const MODULE = `${import.meta.dirname}/../../src/os/closed_stream.ts`;
const PROGRAM = `import(${JSON.stringify(MODULE)}).then((m) => process.exit(m.wasClosed(1) ? 1 : 0))`;

test.each([
  [">&-", 1],
  [">/dev/null", 0],
  ["| cat", 0],
  [">/dev/full", 0],
])("wasClosed() after %p", async (redirection, code) => {
  const script = `set -o pipefail; "$0" -e '${PROGRAM}' ${redirection}`;
  const child = Bun.spawn(["bash", "-c", script, process.execPath], { stdout: "ignore" });
  expect(await child.exited).toBe(code);
});
