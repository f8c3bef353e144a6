/**
 * Loads the engine for the simulation: its random bytes come from the seed, its caches are in memory and its workers run in this
 * thread, so that a seed always gives the same run; and one rule of docs/gc.md can be switched off. Has to run before the engine is loaded.
 */
import { BROKEN_RULES, type Edit, type RuleName } from "./rules.ts";

const SOURCES = /\/src\/[\w/]+\.ts$/;
const RANDOM = `export { randomBytes } from ${JSON.stringify(`${import.meta.dir}/randomness.ts`)};\n`;
/** What a host remembers. */
const FILES = `export * from ${JSON.stringify(`${import.meta.dir}/host_files.ts`)};\n`;
const WORKERS = `import { runTask } from ${
  JSON.stringify(`${import.meta.dir}/../../src/volume/pool/tasks.ts`)
};
export class Piscina {
  on() {}
  async run(task) { return runTask(task); }
  async destroy() {}
}
`;

/**
 * `broken`: the rule to switch off, by a change of the source text that has to fit exactly once. Returns what is to be
 * called once the engine is loaded: it throws where a change was not made, for then all rules would hold.
 */
export function prepareEngine(broken: RuleName | undefined): () => void {
  const edits = broken === undefined ? [] : editsOf(broken);
  const left = new Set(edits);
  Bun.plugin({
    name: "simulation",
    setup(build) {
      build.onLoad({ filter: /\/piscina\/dist\/[\w./-]+$/ }, () => ({ contents: WORKERS, loader: "ts" }));
      build.onLoad({ filter: SOURCES }, async ({ path }) => {
        if (path.endsWith("/util/random.ts")) return { contents: RANDOM, loader: "ts" };
        if (path.endsWith("/os/own_files.ts")) return { contents: FILES, loader: "ts" };
        let contents = await Bun.file(path).text();
        for (const edit of edits.filter(({ file }) => path.endsWith(`/src/${file}`))) {
          contents = changed(contents, edit);
          left.delete(edit);
        }
        return { contents, loader: "ts" };
      });
    },
  });
  return () => {
    const [edit] = left;
    if (edit !== undefined) throw new Error(`Cannot switch the rule off: ${edit.file} was not loaded`);
  };
}

function editsOf(rule: RuleName): readonly Edit[] {
  const edits = BROKEN_RULES[rule];
  if (edits === undefined) throw new Error(`Cannot switch the rule off: there is none called: ${rule}`);
  return edits;
}

function changed(text: string, { file, find, replace }: Edit): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(`Cannot switch the rule off: ${file} has ${parts.length - 1} of: ${find}`);
  }
  return parts.join(replace);
}
