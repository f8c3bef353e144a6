/**
 * Which file of the checkout uses which: by its imports, and by each relative path in its text that leads to a file or folder
 * (a worker, a script, a fixture). Imports of types alone do not count, since nothing of them is left when a program runs.
 */
import { readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const transpiler = new Bun.Transpiler({ loader: "ts" });
/** The end of a text literal that may be a path: `"../x.ts"`, or what follows the folder's name in a template. */
const PATH = /[\w./-]*(?:\.\/|\.ts)[\w./-]*(?=["'`\\])/g;

export class ImportGraph {
  readonly #root: string;
  readonly #uses = new Map<string, readonly string[]>();

  /** The checkout in the folder `root`; its files are read when they are asked for. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Files and folders that `file` uses itself. All paths are relative to the root. */
  usedBy(file: string): readonly string[] {
    const known = this.#uses.get(file);
    if (known !== undefined) return known;
    const uses = file.endsWith(".ts") ? this.#read(file) : [];
    this.#uses.set(file, uses);
    return uses;
  }

  /** `file`, and what it uses itself or by another file. */
  reachedFrom(file: string): ReadonlySet<string> {
    const reached = new Set([file]);
    for (const at of reached) {
      for (const used of this.usedBy(at)) reached.add(used);
    }
    return reached;
  }

  #read(file: string): readonly string[] {
    const text = transpiler.transformSync(readFileSync(join(this.#root, file), "utf8"));
    const folder = dirname(file);
    const found = new Set<string>();
    for (const [path] of text.matchAll(PATH)) {
      const used = relative("", join(folder, path));
      // A folder that holds the file itself would make everything use everything.
      if (`${file}/`.startsWith(`${used}/`) || used.startsWith("..") || used === "") continue;
      if (statSync(join(this.#root, used), { throwIfNoEntry: false }) !== undefined) found.add(used);
    }
    return [...found];
  }
}
