/** Where something lies in a folder that a host keeps for itself. */
import { join } from "node:path";

/** A file or folder: `path` is below the root. */
export interface OwnPath {
  root: string;
  path: string;
}

/** What has that name below a folder. */
export function within({ root, path }: OwnPath, ...names: string[]): OwnPath {
  return { root, path: join(path, ...names) };
}

/** The whole path, for messages. */
export function pathOf({ root, path }: OwnPath): string {
  return join(root, path);
}
