/** What a command answers, on standard output. No other file of the command line prints there. */
import { VarveError } from "../errors.ts";
import { hasCode, writeAll } from "./write_all.ts";

const STDOUT_FD = 1;

/** A reader that has gone (`varve list | head -1`) is no error: it has seen what it wanted. */
export function printBytes(bytes: Uint8Array): void {
  try {
    writeAll(STDOUT_FD, bytes);
  } catch (cause) {
    if (hasCode(cause, "EPIPE")) return;
    throw new VarveError("failed", 'Cannot write "standard output"', { cause });
  }
}

export function print(text: string): void {
  printBytes(Buffer.from(text));
}

/** One JSON document. */
export function printJson(value: unknown): void {
  print(`${JSON.stringify(value, null, 2)}\n`);
}

/** Rows in columns, each as wide as its widest cell, under a heading. Nothing for no rows. */
export function printTable(heading: string[], rows: string[][]): void {
  if (rows.length === 0) return;
  const widths = heading.map((_, column) => {
    return [heading, ...rows].reduce((width, row) => Math.max(width, Bun.stringWidth(row[column] ?? "")), 0);
  });
  const line = (row: string[]) =>
    row.map((cell, column) => pad(cell, widths[column] ?? 0)).join("  ").trimEnd();
  print([heading, ...rows].map((row) => `${line(row)}\n`).join(""));
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(width - Bun.stringWidth(cell));
}
