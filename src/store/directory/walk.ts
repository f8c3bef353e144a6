/**
 * Walks a directory store in the order of its keys. A folder sorts as its name with a `/`, since that is how every key
 * below it goes on: `a-b` comes before `a/b`. Memory is one folder's names for each level of depth.
 *
 * What has a key's name and is no folder is an object, also a link, named pipe, socket or device: reading it says what it
 * is, deleting removes it. Nothing of the kind is followed or opened.
 */
import type { Dirent } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import type { Folder } from "../../os/folder.ts";
import type { DirectoryRoot } from "./root.ts";
import { TEMPORARY_FOLDER } from "./durable_writer.ts";
import { isKey } from "../key.ts";
import { lookTwice } from "./look_twice.ts";
import type { ObjectInfo } from "../store.ts";

/** Files whose size and time are asked for at the same time. */
const STAT_WINDOW = 64;

export interface WalkOptions {
  /** Only keys that begin with this. */
  prefix: string;
  /** Only keys that sort after this one. */
  after?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Told the path of each link, below the root. */
  onLink: (path: string) => void;
}

/** Every object below `root`, ascending by key. Folders that `prefix` or `after` rule out are not read. */
export function walkDirectory(root: DirectoryRoot, options: WalkOptions): AsyncGenerator<ObjectInfo> {
  const { prefix } = options;
  return walkFolder(prefix.slice(0, prefix.lastIndexOf("/") + 1), { root, options });
}

/** The segments below `prefix` (empty, or ending in `/`) that have objects beneath them, in the order of their keys. */
export async function* directoryFolders(root: DirectoryRoot, options: WalkOptions): AsyncGenerator<string> {
  const { prefix } = options;
  using above = await openFolder(prefix, { root, options });
  for (const path of above === undefined ? [] : await readPaths(above, prefix, options)) {
    if (!path.endsWith("/")) continue;
    for await (const _ of walkFolder(path, { root, above, options })) {
      yield path.slice(prefix.length, -1);
      break;
    }
  }
}

interface Walk {
  root: DirectoryRoot;
  /** The folder right above, where it is open. */
  above?: Folder | undefined;
  options: WalkOptions;
}

async function* walkFolder(path: string, walk: Walk): AsyncGenerator<ObjectInfo> {
  using folder = await openFolder(path, walk);
  for (const run of runsOf(folder === undefined ? [] : await readPaths(folder, path, walk.options))) {
    walk.options.signal?.throwIfAborted();
    if (run[0]?.endsWith("/")) yield* walkFolder(run[0], { ...walk, above: folder });
    else yield* await infosOf(folder!, run);
  }
}

/** `undefined` where it is not there. */
async function openFolder(path: string, { root, above, options }: Walk): Promise<Folder | undefined> {
  options.signal?.throwIfAborted();
  const whole = path.slice(0, -1);
  return await lookTwice((again) =>
    above === undefined || again
      ? root.folder(whole, { again })
      : above.enter(whole.slice(whole.lastIndexOf("/") + 1))
  );
}

/** The folder's keys, and its folders with a `/` behind, sorted. An absent folder has none. */
async function readPaths(folder: Folder, path: string, options: WalkOptions): Promise<string[]> {
  const paths = await lookTwice(async () => {
    const entries = await readdir(folder.here, { withFileTypes: true });
    return await Promise.all(entries.map((entry) => pathOf(folder, path, { entry, options })));
  }) ?? [];
  return paths.filter((path) => path !== undefined).filter((path) => isWanted(path, options)).sort();
}

/** An entry of a file system that does not tell types in its folders has to be looked at. */
async function pathOf(
  folder: Folder,
  above: string,
  { entry, options }: { entry: Dirent; options: WalkOptions },
): Promise<string | undefined> {
  const path = above + entry.name;
  if (!isKey(path) || path === TEMPORARY_FOLDER) return undefined;
  const kind = isTold(entry) ? entry : await lookTwice(() => lstat(folder.at(entry.name)));
  if (kind?.isSymbolicLink()) options.onLink(path);
  return kind?.isDirectory() ? `${path}/` : kind && path;
}

function isTold(entry: Dirent): boolean {
  return entry.isFile() || entry.isDirectory() || entry.isSymbolicLink() || entry.isFIFO() ||
    entry.isSocket() || entry.isBlockDevice() || entry.isCharacterDevice();
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

/** Of those objects in the folder that were not deleted since. */
async function infosOf(folder: Folder, keys: readonly string[]): Promise<ObjectInfo[]> {
  const look = async (key: string, again: boolean) => {
    if (again) await folder.refresh();
    return await infoOf(folder, key);
  };
  const infos = await Promise.all(keys.map((key) => lookTwice((again) => look(key, again))));
  return infos.filter((info) => info !== undefined);
}

/** What has the key's name in that folder; `undefined` for a folder. Throws system errors. */
export async function infoOf(folder: Folder, key: string): Promise<ObjectInfo | undefined> {
  const found = await lstat(folder.at(key.slice(key.lastIndexOf("/") + 1)));
  if (found.isDirectory()) return undefined;
  return { key, sizeBytes: found.isFile() ? found.size : 0, modifiedMs: found.mtimeMs };
}
