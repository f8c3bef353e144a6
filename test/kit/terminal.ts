/** A shell line on a terminal of its own, where Ctrl-C reaches every process of the line, as a person's does. */
import { VARVE_BIN } from "./varve.ts";

const CTRL_C = "\x03";

export class Terminal {
  /** What has been shown until now. */
  output = "";
  readonly #child: Bun.Subprocess;

  /** Runs `line` in bash, on `columns` columns; `varve` in it is the built program. */
  constructor(line: string, env: Record<string, string>, { columns = 200 }: { columns?: number } = {}) {
    const decoder = new TextDecoder();
    // The shell itself outlives Ctrl-C, to tell how the parts of the line ended.
    const script = `trap : INT; varve() { '${VARVE_BIN}' "$@"; }; ${line}; echo "codes: \${PIPESTATUS[*]}"`;
    this.#child = Bun.spawn(["bash", "-c", script], {
      env: { PATH: process.env.PATH ?? "", HOME: "/nonexistent", TERM: "xterm", ...env },
      terminal: { cols: columns, rows: 50, data: (_, bytes) => void (this.output += decoder.decode(bytes)) },
    });
  }

  /** As a person at the keyboard does. */
  type(text: string): void {
    this.#child.terminal!.write(text);
  }

  interrupt(): void {
    this.#child.terminal!.write(CTRL_C);
  }

  /** Resolves to the exit codes of the line's parts, once it has ended. */
  async ended(): Promise<number[]> {
    await this.#child.exited;
    await until(() => /codes: [\d ]+\r\n/.test(this.output));
    this.#child.terminal!.close();
    return /codes: ([\d ]+)\r\n/.exec(this.output)![1]!.split(" ").map(Number);
  }
}

/** Looks again and again until it is so; a test that waits in vain ends by its own limit. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!await isSo()) await Bun.sleep(5);
}
