import { expect, test } from "bun:test";
import { Screen } from "../../../src/cli/terminal/screen.ts";

function record(columns?: number): { screen: Screen; taken: () => string } {
  let text = "";
  const screen = new Screen({
    isTerminal: true,
    columns: () => columns,
    write: (piece) => text += String(piece),
  });
  return { screen, taken: () => [text, text = ""][0]! };
}

test("write() only writes when there is no progress line", () => {
  const { screen, taken } = record();
  screen.write("a line\n");
  expect(taken()).toBe("a line\n");
});

test("write() takes the progress line away and puts it back when there is one", () => {
  const { screen, taken } = record();
  screen.show("50%");
  expect(taken()).toBe("\r\u001b[K50%");
  screen.write("a line\n");
  expect(taken()).toBe("\r\u001b[Ka line\n\r\u001b[K50%");
});

test("erase() leaves nothing when it is called twice", () => {
  const { screen, taken } = record();
  screen.show("50%");
  taken();
  screen.erase();
  screen.erase();
  screen.write("a line\n");
  expect(taken()).toBe("\r\u001b[Ka line\n");
});

test("show() cuts the line when the terminal is narrow", () => {
  const { screen, taken } = record(10);
  screen.show("0123456789abc");
  expect(taken()).toBe("\r\u001b[K012345678");
});
