/** The project's source files and documents as text, and what they import and export. */
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/** A file's path below the checkout, and its text. */
export type Texts = ReadonlyMap<string, string>;

/** Every tracked or new file of these folders and names that git does not ignore. */
export function readTexts(paths: readonly string[]): Texts {
  const command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", ...paths];
  const { stdout, success } = Bun.spawnSync(command, { cwd: ROOT });
  if (!success) throw new Error("Cannot list the source files: git ls-files failed");
  const files = stdout.toString().split("\n").filter((file) => /\.(ts|md)$/.test(file));
  const isThere = (file: string) => Bun.file(join(ROOT, file)).size > 0;
  return new Map(files.filter(isThere).map((file) => [file, readFileSync(join(ROOT, file), "utf8")]));
}

/** Every path below the checkout that git knows, and the folders that hold them. */
export function readPaths(): ReadonlySet<string> {
  const { stdout } = Bun.spawnSync(["git", "ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
  });
  const paths = new Set<string>();
  for (const file of stdout.toString().trim().split("\n")) {
    for (let path = file; path !== "."; path = dirname(path)) paths.add(path);
  }
  return paths;
}

export interface Import {
  /** The file that is imported, as a path below the checkout. */
  file: string;
  /** What is taken from it; `undefined` where it is all of it, as by `import("…")`. */
  names: string[] | undefined;
}

const IMPORT =
  /(?:import|export)\s+(?:type\s+)?(?:(\{[^}]*\}|\*\s+as\s+\w+|\*|\w+(?:\s*,\s*\{[^}]*\})?)\s+from\s+)?"(\.[^"]+)"|import\(\s*"(\.[^"]+)"\s*\)/g;

/** The file's imports of other files of the project, types included. */
export function importsOf(file: string, text: string): Import[] {
  return [...text.matchAll(IMPORT)].map(([, clause, fixed, dynamic]) => ({
    file: normalize(join(dirname(file), (fixed ?? dynamic)!)),
    names: clause?.startsWith("{") ? namesIn(clause) : undefined,
  }));
}

function namesIn(clause: string): string[] {
  const parts = clause.replace(/[{}]/g, "").split(",").map((part) => part.trim()).filter((part) =>
    part !== ""
  );
  return parts.map((part) => part.replace(/^type\s+/, "").replace(/\s+as\s+.*$/, ""));
}

const EXPORT =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|const|let|interface|type|enum) (\w+)/gm;

/** The names that a file exports by a declaration. */
export function exportsOf(text: string): string[] {
  return [...text.matchAll(EXPORT)].map(([, name]) => name!);
}

/** A file's comments, one string. Texts in quotes and templates are not looked through: a few of their lines may be taken along. */
export function commentsOf(text: string): string {
  return [...text.matchAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm)].map(([comment]) => comment).join("\n");
}
