/**
 * Loads the engine for the simulation: its random bytes come from the seed and its workers run in this thread, so that a
 * seed always gives the same run; and one rule of docs/gc.md can be switched off. Has to run before the engine is loaded.
 */
import { BROKEN_RULES, type RuleName } from "./rules.ts";

const SOURCES = /\/src\/\w+\/\w+\.ts$/;
const RANDOM = `export { randomBytes } from ${JSON.stringify(`${import.meta.dir}/randomness.ts`)};\n`;
const WORKERS = `import { runTask } from ${JSON.stringify(`${import.meta.dir}/../../src/pool/tasks.ts`)};
export class Piscina {
  on() {}
  async run(task) { return runTask(task); }
  async destroy() {}
}
`;

/** `broken`: the rule to switch off, by a change of the source text that has to fit exactly once. */
export function prepareEngine(broken: RuleName | undefined): void {
  const edits = broken === undefined ? [] : BROKEN_RULES[broken]!;
  Bun.plugin({
    name: "simulation",
    setup(build) {
      build.onLoad({ filter: /\/piscina\/dist\/[\w./-]+$/ }, () => ({ contents: WORKERS, loader: "ts" }));
      build.onLoad({ filter: SOURCES }, async ({ path }) => {
        if (path.endsWith("/engine/random.ts")) return { contents: RANDOM, loader: "ts" };
        let contents = await Bun.file(path).text();
        for (const edit of edits) if (path.endsWith(`/src/${edit.file}`)) contents = changed(contents, edit);
        return { contents, loader: "ts" };
      });
    },
  });
}

function changed(
  text: string,
  { file, find, replace }: { file: string; find: string; replace: string },
): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(`Cannot switch the rule off: ${file} has ${parts.length - 1} of: ${find}`);
  }
  return parts.join(replace);
}
