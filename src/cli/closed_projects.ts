/** Projects that a command over all of them could not open: it goes on with the others. */
import { describeError, isUnreadable, VarveError } from "../errors.ts";
import type { Invocation } from "./root.ts";

export class ClosedProjects {
  readonly #screen: Invocation["screen"];
  readonly #failures: { project: string; error: VarveError }[] = [];

  constructor(screen: Invocation["screen"]) {
    this.#screen = screen;
  }

  /** What `work` gives; `undefined` where the project is another secret's, or damaged. */
  async unless<T>(project: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      const isClosed = error instanceof VarveError && (isUnreadable(error) || error.code === "wrong_secret");
      if (!isClosed) throw error;
      this.#screen.write(`left out: ${project}: ${describeError(error)}\n`);
      this.#failures.push({ project, error });
      return undefined;
    }
  }

  /** Throws where there were any: damage before a wrong secret. */
  refuse(verb: string): void {
    const first = this.#failures.find(({ error }) => error.code === "damage") ?? this.#failures[0];
    if (first === undefined) return;
    const count = this.#failures.length === 1 ? "1 project was" : `${this.#failures.length} projects were`;
    throw new VarveError(first.error.code, `Cannot ${verb} all projects: ${count} left out`);
  }
}
