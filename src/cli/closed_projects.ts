/** Projects that a command over all of them could not work on: it goes on with the others. */
import { counted } from "../util/counted.ts";
import {
  describeError,
  InterruptedError,
  type LeftOut,
  LeftOutError,
  StoreError,
  VarveError,
} from "../errors.ts";
import type { Screen } from "./terminal/screen.ts";

export class ClosedProjects {
  readonly #screen: Screen;
  readonly #leftOut: LeftOut[] = [];

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  get none(): boolean {
    return this.#leftOut.length === 0;
  }

  /** What `work` gives of each project; those that it fails for are named and left out. */
  async each<T>(
    projects: AsyncIterable<string> | Iterable<string>,
    work: (project: string) => Promise<T>,
  ): Promise<T[]> {
    const results: T[] = [];
    for await (const project of projects) {
      try {
        results.push(await work(project));
      } catch (error) {
        if (!isOfOne(error)) throw error;
        this.leaveOut(project, error);
      }
    }
    return results;
  }

  /** To be called also for a project that was not wholly worked on. */
  leaveOut(project: string, error: VarveError): void {
    const message = describeError(error);
    this.#screen.write(`skipped: ${project}: ${message}\n`);
    this.#leftOut.push({ project, code: error.code, message });
  }

  /** Throws where there were any: damage comes first, and a wrong secret, which may be meant, last. */
  check(thing: string): void {
    const worst = this.#leftOut.toSorted((a, b) => rank(a) - rank(b))[0];
    if (worst === undefined) return;
    const were = `${counted(this.#leftOut.length, "project")} named above ${
      this.#leftOut.length === 1 ? "was" : "were"
    } skipped`;
    const message = `Cannot process all projects of "${thing}": ${were}`;
    throw new LeftOutError(worst.code, message, this.#leftOut);
  }
}

/** What says nothing of the other projects. A store that is away, or an interruption, ends the work. */
function isOfOne(error: unknown): error is VarveError {
  if (!(error instanceof VarveError) || error instanceof InterruptedError) return false;
  return !(error instanceof StoreError && error.retryable);
}

function rank({ code }: LeftOut): number {
  return code === "damage" ? 0 : code === "wrong_secret" ? 2 : 1;
}
