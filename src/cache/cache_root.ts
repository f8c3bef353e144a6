/** The folder of all caches on this host: made where it can be, and used only where nobody else can write to it. */
import type { Stats } from "node:fs";
import { lstat, mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { describeError } from "../errors.ts";

interface CacheTold {
  /** Told why the folder is not used, and how to mend that. */
  onWarning: (line: string) => void;
  /** Told why there can be none. */
  onDebug: (line: string) => void;
}

/**
 * `root` (`$XDG_CACHE_HOME/varve`), as a folder that is this user's own; `undefined` where nothing can be remembered. It is
 * not made where the folder above `$XDG_CACHE_HOME`, which is the home folder unless that is set, is not there.
 */
export async function openCacheRoot(root: string, told: CacheTold): Promise<string | undefined> {
  try {
    await stat(dirname(dirname(root)));
    await mkdir(root, { recursive: true, mode: 0o700 });
    const state = strangeness(await lstat(root)) ?? strangeness(await stat(root));
    if (state === undefined) return root;
    told.onWarning(`the cache folder "${root}" ${state}`);
  } catch (error) {
    told.onDebug(`the cache in "${root}" is not used: ${describeError(error)}`);
  }
  return undefined;
}

/** Why others could have put something there; of a link, whose it is. */
function strangeness(stats: Stats): string | undefined {
  const elsewhere = "or set XDG_CACHE_HOME to a directory of your own";
  if (stats.uid !== process.geteuid?.()) {
    return `is not used: it belongs to another user (uid ${stats.uid}); change its owner, remove it, ${elsewhere}`;
  }
  if (stats.isSymbolicLink() || (stats.mode & 0o022) === 0) return undefined;
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, "0");
  return `is not used: other users can write to it (mode ${mode}) and may have; remove it, ${elsewhere}`;
}
