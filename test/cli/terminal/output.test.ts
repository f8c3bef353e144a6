/** Tables and lines that fit, and which text is for whom. */
import { describe, expect, test } from "bun:test";
import { cutLine, printRemark, printStatus, tableLines } from "../../../src/cli/terminal/output.ts";
import { Screen } from "../../../src/cli/terminal/screen.ts";

test("tableLines() aligns columns, those of figures at their ends, and keeps each row one line", () => {
  const rows = [["a\tb", "9 B", "x"], ["ü\u001b", "1000 B", ""]];
  expect(tableLines(["NAME", "SIZE", "NOTE"], rows, [1])).toEqual([
    "NAME     SIZE  NOTE",
    "a b       9 B  x",
    "ü\\x1b  1000 B",
  ]);
  expect(tableLines(["NAME"], [])).toEqual([]);
});

test("cutLine() marks what it leaves out, and counts columns, not characters", () => {
  expect(cutLine("12345", 5)).toBe("12345");
  expect(cutLine("123456", 5)).toBe("1234…");
  expect(cutLine("日本語です", 6)).toBe("日本…");
});

describe("what is said on standard error", () => {
  function said(
    print: typeof printStatus,
    options: { json?: true; quiet?: true },
    isTerminal: boolean,
  ): string {
    let text = "";
    const screen = new Screen({ isTerminal, columns: () => 80, write: (piece) => void (text += piece) });
    print("done \u001b[2J\n", { screen, options });
    return text;
  }

  test("printStatus() speaks only to a person at a terminal", () => {
    expect(said(printStatus, {}, true)).toBe("done \\x1b[2J\n");
    expect(said(printStatus, {}, false)).toBe("");
    for (const options of [{ json: true }, { quiet: true }] as const) {
      expect(said(printStatus, options, true)).toBe("");
    }
  });

  test("printRemark() speaks to people wherever they read", () => {
    expect(said(printRemark, {}, false)).toBe("done \\x1b[2J\n");
    for (const options of [{ json: true }, { quiet: true }] as const) {
      expect(said(printRemark, options, false)).toBe("");
    }
  });
});
