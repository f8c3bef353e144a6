/** The folder that a host keeps its cache or its state in: made where it can be, and used only where nobody else can write to it. */
import type { BigIntStats, Stats } from "node:fs";
import { lstat, mkdir, stat } from "node:fs/promises";
import { describeFileError } from "./file_error.ts";

export interface OwnRootOptions {
  /** A folder that is not made: where it is not there, there is no root either. */
  below?: string;
  /** For messages: `cache`. */
  name: string;
  /** The variable that names another folder: `XDG_CACHE_HOME`. */
  variable: string;
  /** Told why the folder is not used, and how to mend that. */
  onStrange: (line: string) => void;
  /** Told why there can be none. */
  onMissing: (line: string) => void;
}

/** `root`, as a folder that is this user's own; `undefined` where nothing can be kept. */
export async function openOwnRoot(root: string, options: OwnRootOptions): Promise<string | undefined> {
  const { below, name, variable, onStrange, onMissing } = options;
  try {
    if (below !== undefined) await stat(below);
    await mkdir(root, { recursive: true, mode: 0o700 });
    const state = strangeness(await lstat(root)) ?? strangeness(await stat(root));
    if (state === undefined) return root;
    const remedies = [...state.remedies, `or set ${variable} to a directory of your own`].join(", ");
    onStrange(`the ${name} folder "${root}" is not used: ${state.why}; ${remedies}`);
  } catch (error) {
    onMissing(`the ${name} in "${root}" is not used: ${describeFileError(error)}`);
  }
  return undefined;
}

/** Why others could have put something into a folder, and how to mend that; of a link, whose it is. */
export function strangeness(
  stats: Stats | BigIntStats,
): { why: string; remedies: readonly string[] } | undefined {
  if (Number(stats.uid) !== process.geteuid?.()) {
    return {
      why: `it belongs to another user (uid ${stats.uid})`,
      remedies: ["change its owner", "remove it"],
    };
  }
  const mode = Number(stats.mode) & 0o7777;
  if (stats.isSymbolicLink() || (mode & 0o022) === 0) return undefined;
  const octal = mode.toString(8).padStart(4, "0");
  return { why: `other users can write to it (mode ${octal}) and may have`, remedies: ["remove it"] };
}
