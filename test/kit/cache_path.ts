/** Files of a cache as its code names them. */
import { basename, dirname } from "node:path";
import type { OwnPath } from "../../src/os/own_path.ts";

/** The file at this path, in a cache whose root is the folder that it is in. */
export function cached(path: string): OwnPath {
  return { root: dirname(path), path: basename(path) };
}
