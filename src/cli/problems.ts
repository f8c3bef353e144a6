/** What a command could not read while it did the rest: a line for each at once, and in the end the exit code. */
import { describeError, UnavailableError, VarveError } from "../errors.ts";
import type { Screen } from "./terminal/screen.ts";

export class Problems {
  readonly #screen: Screen;
  readonly #lines = new Set<string>();

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** Says it, unless it was said before. */
  readonly tell = (problem: VarveError): void => {
    const line = describeError(problem);
    if (this.#lines.has(line)) return;
    this.#lines.add(line);
    this.#screen.write(`${problem instanceof UnavailableError ? "unavailable" : "damaged"}: ${line}\n`);
  };

  /** Throws `damage` where there was any; `thing` is what was worked on, `done` what was done all the same. */
  check(thing: string, done?: string): void {
    if (this.#lines.size === 0) return;
    const count = this.#lines.size === 1 ? "1 object" : `${this.#lines.size} objects`;
    throw new VarveError(
      "damage",
      `Cannot read all of "${thing}": ${count} named above cannot be read${
        done === undefined ? "" : `; ${done}`
      }`,
    );
  }
}
