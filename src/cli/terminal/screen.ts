/** Standard error: lines that stay (logs, summaries, the error) and one progress line that they share it with. */
import { writeAll } from "../../os/write_all.ts";

const STDERR_FD = 2;
/** To the beginning of the line, and all behind it erased (ECMA-48 EL). */
const ERASE_LINE = "\r\u001b[K";
const DEFAULT_COLUMNS = 80;

interface ScreenOptions {
  isTerminal: boolean;
  /** Read for every progress line: terminals are resized. */
  columns: () => number | undefined;
  write: (text: string | Uint8Array) => void;
}

export class Screen {
  readonly isTerminal: boolean;
  readonly #options: ScreenOptions;
  #shown = "";

  constructor(options: ScreenOptions) {
    this.#options = options;
    this.isTerminal = options.isTerminal;
  }

  /** Text that stays, in whole lines; what is shown as progress comes back after it. */
  write(text: string | Uint8Array): void {
    const shown = this.#shown;
    this.erase();
    this.#options.write(text);
    if (shown !== "") this.show(shown);
  }

  /** Replaces the progress line; cut to the terminal's width, since a wrapped line could not be erased. */
  show(line: string): void {
    const columns = this.#options.columns() ?? DEFAULT_COLUMNS;
    this.#shown = line.slice(0, columns - 1);
    this.#options.write(ERASE_LINE + this.#shown);
  }

  erase(): void {
    if (this.#shown !== "") this.#options.write(ERASE_LINE);
    this.#shown = "";
  }
}

/** The process's own. A standard error that is gone or full takes nothing from the work. */
export function standardError(): Screen {
  return new Screen({
    isTerminal: process.stderr.isTTY === true,
    columns: () => process.stderr.columns,
    write(text) {
      try {
        writeAll(STDERR_FD, typeof text === "string" ? Buffer.from(text) : text);
      } catch {
        // There is nowhere left to say it.
      }
    },
  });
}
