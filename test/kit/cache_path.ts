/** Files of a cache as its code names them. */
import { basename, dirname } from "node:path";
import type { CachePath } from "../../src/cache/own_files.ts";

/** The file at this path, in a cache whose root is the folder that it is in. */
export function cached(path: string): CachePath {
  return { root: dirname(path), path: basename(path) };
}
