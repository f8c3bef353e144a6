/** What a command answers, on standard output. No other file of the command line prints there. */
import { describeError, escapeControls, escapeJson, VarveError } from "../../errors.ts";
import { wasClosed } from "../../os/closed_stream.ts";
import type { Screen } from "./screen.ts";
import { systemCode } from "../../os/fd.ts";
import { writeAll } from "../../os/write_all.ts";

const STDOUT_FD = 1;

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

/** Rows in columns, each as wide as its widest cell, under a heading. Nothing for no rows. */
export function printTable(heading: string[], rows: string[][]): void {
  if (rows.length === 0) return;
  const lines = [heading, ...rows].map((row) => row.map(cellText));
  const widths = heading.map((_, column) => {
    return lines.reduce((width, row) => Math.max(width, Bun.stringWidth(row[column] ?? "")), 0);
  });
  const line = (row: string[]) =>
    row.map((cell, column) => pad(cell, widths[column] ?? 0)).join("  ").trimEnd();
  print(lines.map((row) => `${line(row)}\n`).join(""));
}

/** In one line. */
function cellText(text: string): string {
  return escapeControls(text.replace(/[\t\n]/g, " "));
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(width - Bun.stringWidth(cell));
}
