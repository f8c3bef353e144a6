/** The log's lines: whatever texts hold, none steers a terminal or makes a line of its own. */
import { describe, expect, test } from "bun:test";
import { createLogger } from "../../src/cli/logger.ts";
import { Screen } from "../../src/cli/terminal/screen.ts";

const HOSTILE = "a\u001b[31mb\u009bc\u202ed\ne\tf";
const ESCAPED = "a\\x1b[31mb\\x9bc\\u202ed\\x0ae\\x09f";

async function linesOf(format: "pretty" | "json", isTerminal = false): Promise<string> {
  let written = "";
  const write = (text: string | Uint8Array) => void (written += String(text));
  const screen = new Screen({ isTerminal, columns: () => 80, write });
  const log = await createLogger(screen, { level: "debug", format });
  log.warn({ host: HOSTILE, nested: { reason: [HOSTILE] } }, HOSTILE);
  return written;
}

describe("createLogger()", () => {
  test("escapes what steers a terminal in lines for people, and leaves its own colors", async () => {
    for (const isTerminal of [false, true]) {
      const text = await linesOf("pretty", isTerminal);
      expect(text).toContain(ESCAPED);
      expect(text.split("\n").length).toBe(2);
      expect(Bun.stripANSI(text)).toMatch(/^[\x20-\x7e]+\n$/);
      expect(text.includes("\u001b[3")).toBe(isTerminal);
      expect(text).not.toContain("\u001b[31mb");
    }
  });

  test("escapes it in lines of JSON as JSON does: the texts are what they were", async () => {
    const text = await linesOf("json");
    expect(text).toMatch(/^[\x20-\x7e]+\n$/);
    expect(JSON.parse(text)).toMatchObject({ msg: HOSTILE, host: HOSTILE, nested: { reason: [HOSTILE] } });
  });

  test("keeps an error's stack on lines of its own", async () => {
    let written = "";
    const screen = new Screen({
      isTerminal: false,
      columns: () => 80,
      write: (text) => void (written += text),
    });
    const log = await createLogger(screen, { level: "debug", format: "json" });
    log.debug({ err: new Error(HOSTILE) }, "ended by");
    expect(written).toMatch(/^[\x20-\x7e]+\n$/);
    const { err } = JSON.parse(written);
    expect(err.message).toBe(HOSTILE);
    expect(err.stack).toContain("\n    at ");
  });
});
