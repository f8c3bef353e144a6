/**
 * Walks a directory store in the order of its keys. A folder sorts as its name with a `/`, since that is how every key
 * below it goes on: `a-b` comes before `a/b`. Memory is one folder's names for each level of depth.
 */
import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "./directory_errors.ts";
import { TEMPORARY_FOLDER } from "./durable_writer.ts";
import { isKey } from "./key.ts";
import { lookTwice } from "./look_twice.ts";
import type { ObjectInfo } from "./store.ts";

/** Files whose size and time are asked for at the same time. */
const STAT_WINDOW = 64;

export interface WalkOptions {
  /** Only keys that begin with this. */
  prefix: string;
  /** Only keys that sort after this one. */
  after?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Every object below `root`, ascending by key. Folders that `prefix` or `after` rule out are not read. */
export function walkDirectory(root: string, options: WalkOptions): AsyncGenerator<ObjectInfo> {
  return walkFolder(root, options.prefix.slice(0, options.prefix.lastIndexOf("/") + 1), options);
}

/** The segments below `prefix` (empty, or ending in `/`) that have objects beneath them, in the order of their keys. */
export async function* directoryFolders(root: string, options: WalkOptions): AsyncGenerator<string> {
  const { prefix } = options;
  for (const path of await readPaths(root, prefix, options)) {
    if (path.endsWith("/") && await holdsObject(root, path, options)) yield path.slice(prefix.length, -1);
  }
}

async function holdsObject(root: string, folder: string, options: WalkOptions): Promise<boolean> {
  for await (const _ of walkFolder(root, folder, options)) return true;
  return false;
}

async function* walkFolder(root: string, folder: string, options: WalkOptions): AsyncGenerator<ObjectInfo> {
  for (const run of runsOf(await readPaths(root, folder, options))) {
    options.signal?.throwIfAborted();
    if (run[0]?.endsWith("/")) {
      yield* walkFolder(root, run[0], options);
    } else {
      for (const info of await Promise.all(run.map((path) => infoOf(root, path)))) if (info) yield info;
    }
  }
}

/** The folder's keys, and its folders with a `/` behind, sorted. An absent folder has none. */
async function readPaths(root: string, folder: string, options: WalkOptions): Promise<string[]> {
  options.signal?.throwIfAborted();
  const entries = await lookTwice(
    join(root, folder),
    () => readdir(join(root, folder), { withFileTypes: true }),
  ) ?? [];
  const paths = await Promise.all(entries.map((entry) => pathOf(root, folder, entry)));
  return paths.filter((path) => path !== undefined).filter((path) => isWanted(path, options)).sort();
}

/** A link, or an entry of a file system that does not tell types in its folders, has to be looked at. */
async function pathOf(root: string, folder: string, entry: Dirent): Promise<string | undefined> {
  const path = folder + entry.name;
  if (!isKey(path) || path === TEMPORARY_FOLDER) return undefined;
  if (entry.isFile()) return path;
  if (entry.isDirectory()) return `${path}/`;
  const found = await lookTwice(join(root, path), () => stat(join(root, path))).catch(undefinedIfNowhere);
  return found?.isDirectory() ? `${path}/` : found?.isFile() ? path : undefined;
}

function isWanted(path: string, { prefix, after = "" }: WalkOptions): boolean {
  if (!path.endsWith("/")) return path.startsWith(prefix) && path > after;
  return (path.startsWith(prefix) || prefix.startsWith(path)) && (path > after || after.startsWith(path));
}

/** Cuts sorted paths into runs: one folder, or up to `STAT_WINDOW` files. */
function* runsOf(paths: readonly string[]): Generator<string[]> {
  let files: string[] = [];
  for (const path of paths) {
    const isFolder = path.endsWith("/");
    if (files.length > 0 && (isFolder || files.length === STAT_WINDOW)) {
      yield files;
      files = [];
    }
    if (isFolder) yield [path];
    else files.push(path);
  }
  if (files.length > 0) yield files;
}

async function infoOf(root: string, key: string): Promise<ObjectInfo | undefined> {
  const found = await lookTwice(join(root, key), () => stat(join(root, key))); // it may have been deleted since
  return found && { key, sizeBytes: found.size, modifiedMs: found.mtimeMs };
}

/** A link that leads nowhere, or round in a circle, is no object; one whose end cannot be looked at may be. */
function undefinedIfNowhere(error: unknown): undefined {
  if (!["ELOOP", "ENAMETOOLONG"].includes(errnoOf(error) ?? "")) throw error;
}
