/**
 * Which text goes to which stream; docs/operating.md, "What is printed", says it to operators.
 *
 * - Standard output has the answer that was asked for, a list, page, report, dry run or JSON document: `print…()`. No other
 *   file of the command line writes there.
 * - Standard error has what was done (`printStatus()`) and progress (`Progress`), both only on a terminal: a job of cron that
 *   succeeds is silent.
 * - Standard error also has warnings, remarks and the error, wherever it goes: `Screen.write()`, the log.
 */
import { isatty } from "node:tty";
import { describeError, escapeControls, escapeJson, VarveError } from "../../errors.ts";
import { wasClosed } from "../../os/closed_stream.ts";
import type { Screen } from "./screen.ts";
import { systemCode } from "../../os/fd.ts";
import { writeAll } from "../../os/write_all.ts";

const STDOUT_FD = 1;
const DEFAULT_COLUMNS = 80;

/** A reader that has gone (`varve list | head -1`) is no error: it has seen what it wanted. */
export function printBytes(bytes: Uint8Array): void {
  if (wasClosed(STDOUT_FD)) throw new VarveError("failed", 'Cannot write "standard output": it is closed');
  try {
    writeAll(STDOUT_FD, bytes);
  } catch (cause) {
    if (systemCode(cause) === "EPIPE") return;
    throw new VarveError("failed", 'Cannot write "standard output"', { cause });
  }
}

/** Text for people: whatever names and tags hold, no control character gets through but tab and newline. */
export function print(text: string): void {
  printBytes(Buffer.from(escapeControls(text)));
}

/** One JSON document. */
export function printJson(value: unknown): void {
  printBytes(Buffer.from(`${escapeJson(JSON.stringify(value, null, 2))}\n`));
}

/**
 * Prints the report of what was done already. That nobody can read it undoes nothing and is no failure: it is said on
 * standard error.
 */
export function reportDone(screen: Screen, printIt: () => void): void {
  try {
    printIt();
  } catch (error) {
    screen.write(`warning: the work is done, but its report was lost: ${describeError(error)}\n`);
  }
}

/** What was done, in whole lines for people: only on a terminal, and not where `--json` or `--quiet` was given. */
export function printStatus(text: string, { screen, options }: Listener): void {
  if (screen.isTerminal && isForPeople(options)) screen.write(escapeControls(text));
}

/** A remark that goes with the answer, in whole lines: also where standard error is no terminal. */
export function printRemark(text: string, { screen, options }: Listener): void {
  if (isForPeople(options)) screen.write(escapeControls(text));
}

interface Listener {
  screen: Screen;
  options: { json?: true | undefined; quiet?: true | undefined };
}

/** Whether anybody but a script or cron is to read what was done. */
export function isForPeople({ json, quiet }: Listener["options"]): boolean {
  return json !== true && quiet !== true;
}

/** Rows in columns, each as wide as its widest cell, under a heading. Nothing for no rows. */
export function printTable(heading: string[], rows: string[][]): void {
  print(tableLines(heading, rows).map((line) => `${line}\n`).join(""));
}

/** The lines of that table, the heading first; the columns whose numbers are in `right` end at the same place. */
export function tableLines(heading: string[], rows: string[][], right: readonly number[] = []): string[] {
  if (rows.length === 0) return [];
  const lines = [heading, ...rows].map((row) => row.map(cellText));
  const widths = heading.map((_, column) => {
    return lines.reduce((width, row) => Math.max(width, Bun.stringWidth(row[column] ?? "")), 0);
  });
  const cell = (text: string, column: number) =>
    pad(text, { width: widths[column] ?? 0, isRight: right.includes(column) });
  return lines.map((row) => row.map(cell).join("  ").trimEnd());
}

/** As much of a line as the terminal is wide that standard output goes to; all of it where that is none. */
export function fitLine(line: string): string {
  return isatty(STDOUT_FD) ? cutLine(line, process.stdout.columns || DEFAULT_COLUMNS) : line;
}

/** The line in at most `columns` columns, with a mark where something is left out. */
export function cutLine(line: string, columns: number): string {
  if (Bun.stringWidth(line) <= columns) return line;
  let cut = "";
  for (const char of line) {
    if (Bun.stringWidth(cut + char) >= columns) break;
    cut += char;
  }
  return `${cut}…`;
}

/** In one line. */
function cellText(text: string): string {
  return escapeControls(text.replace(/[\t\n]/g, " "));
}

function pad(cell: string, { width, isRight }: { width: number; isRight: boolean }): string {
  const space = " ".repeat(width - Bun.stringWidth(cell));
  return isRight ? space + cell : cell + space;
}
