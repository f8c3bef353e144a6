/** What the log lets through to a terminal or a file. */
import { expect, test } from "bun:test";
import { createLogger } from "../../src/cli/logger.ts";
import { Screen } from "../../src/cli/screen.ts";

/** Clears a screen (C1 and C0 introducers), and turns the direction of what follows. */
const HOSTILE = "a\u009b2Jb\u001b[2Jc\u202egnp.exe";
// deno-lint-ignore no-control-regex
const STEERING = /[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f\u202e]|\u001b(?!\[[\d;]*m)/;

async function logged(format: "pretty" | "json", isTerminal: boolean): Promise<string> {
  let text = "";
  const write = (piece: string | Uint8Array) => void (text += String(piece));
  const screen = new Screen({ isTerminal, columns: () => 80, write });
  const log = await createLogger(screen, { level: "info", format });
  log.info({ name: HOSTILE, err: new Error(HOSTILE) }, HOSTILE);
  return text;
}

test.each([true, false])(
  "a pretty log shows as escapes what would steer a terminal: %p",
  async (isTerminal) => {
    const text = await logged("pretty", isTerminal);
    expect(text).not.toMatch(STEERING);
    expect(text).toContain("c\\u202egnp.exe");
    expect(text.includes("\u001b[")).toBe(isTerminal); // its own colours
  },
);

test("a log of JSON is JSON, with nothing in it that would steer a terminal", async () => {
  const text = await logged("json", false);
  expect(text).not.toMatch(STEERING);
  expect(JSON.parse(text)).toMatchObject({ name: HOSTILE, msg: HOSTILE });
});
