/**
 * The files of the cache: below its root no link is followed, and only regular files of this user are read. A file appears
 * whole, by renaming. All that the cache asks of a file system is here.
 */
import * as fs from "node:fs";
import { lstat, lutimes, mkdir, readdir, rename, rm, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { promisify } from "node:util";
import { closeFd, openFd, readFully, systemCode, writeFully } from "../os/fd.ts";
import { Folder } from "../os/folder.ts";

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY } = fs.constants;

/** A file or folder: `path` is below the root. */
export interface CachePath {
  root: string;
  path: string;
}

/** A file that is open. Its methods throw system errors. */
export class OwnFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async sizeBytes(): Promise<number> {
    return (await promisify(fs.fstat)(this.#fd)).size;
  }

  /** Fills `into` from `offset`; how many bytes there were before the end of the file. */
  async read(into: Uint8Array, offset: number): Promise<number> {
    return await readFully(this.#fd, into, offset);
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    await writeFully(this.#fd, bytes, offset);
  }

  async close(): Promise<void> {
    await closeFd(this.#fd);
  }
}

/** To be read; `undefined` where it is not there, or is nothing of this user's. */
export async function openOwn(place: CachePath): Promise<OwnFile | undefined> {
  return await openAs(place, O_RDONLY).catch(() => undefined); // as good as not there
}

/** To be read and written to in place, made empty where it is not there; `undefined` where that cannot be. */
export async function openOrMakeOwn(place: CachePath): Promise<OwnFile | undefined> {
  try {
    using folder = await makeFolderOf(place);
    await openFd(folder.at(basename(place.path)), O_CREAT | O_EXCL | O_WRONLY, FILE_MODE).then(
      closeFd,
      () => {},
    );
    return await openAs(place, O_RDWR);
  } catch {
    return undefined;
  }
}

/** All that the file holds; `undefined` as for `openOwn`. */
export async function readOwn(place: CachePath): Promise<Uint8Array | undefined> {
  const file = await openOwn(place);
  if (file === undefined) return undefined;
  try {
    const bytes = new Uint8Array(await file.sizeBytes());
    return bytes.subarray(0, await file.read(bytes, 0));
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

/** Has `write` fill a new file, then gives it its name. What goes wrong is thrown, and leaves nothing. */
export async function replaceOwn(place: CachePath, write: (file: OwnFile) => Promise<void>): Promise<void> {
  using folder = await makeFolderOf(place);
  const path = folder.at(basename(place.path));
  const temporary = `${path}.${crypto.randomUUID()}`;
  const file = new OwnFile(await openFd(temporary, O_CREAT | O_EXCL | O_WRONLY, FILE_MODE));
  try {
    await write(file).finally(() => file.close());
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** What is in a folder; nothing where it is not there. Throws other system errors. */
export async function listOwn(
  place: CachePath,
): Promise<{ name: string; sizeBytes: number; usedMs: number }[]> {
  try {
    using folder = await openFolder(place);
    return await Promise.all((await readdir(folder.here)).map(async (name) => {
      const { size, mtimeMs } = await lstat(folder.at(name)).catch(() => ({ size: 0, mtimeMs: 0 }));
      return { name, sizeBytes: size, usedMs: mtimeMs };
    }));
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw error;
  }
}

/** Notes that the file was used now, if that can be. */
export async function touchOwn(place: CachePath): Promise<void> {
  const now = new Date();
  await within(place, (path) => lutimes(path, now, now)).catch(() => {});
}

/** Removes a file. That it is not there is no error. */
export async function removeOwn(place: CachePath): Promise<void> {
  await within(place, unlink);
}

/** Removes a folder with all that is in it. That it is not there is no error. */
export async function removeOwnFolder(place: CachePath): Promise<void> {
  await within(place, (path) => rm(path, { recursive: true, force: true }));
}

async function within({ root, path }: CachePath, work: (path: string) => Promise<void>): Promise<void> {
  try {
    using folder = await openFolder({ root, path: dirname(path) });
    await work(folder.at(basename(path)));
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}

async function openAs({ root, path }: CachePath, access: number): Promise<OwnFile | undefined> {
  using folder = await openFolder({ root, path: dirname(path) });
  const file = await folder.openFile(basename(path), access);
  if (file === undefined) return undefined;
  if (isOwn(file.stats)) return new OwnFile(file.fd);
  await closeFd(file.fd);
  return undefined;
}

/** Not another user's, nor some other file of this one's by a second name. */
function isOwn({ uid, nlink }: fs.BigIntStats): boolean {
  return Number(uid) === process.geteuid?.() && nlink === 1n;
}

async function openFolder({ root, path }: CachePath): Promise<Folder> {
  using top = await Folder.open(root);
  return await top.enter(path);
}

async function makeFolderOf({ root, path }: CachePath): Promise<Folder> {
  await mkdir(root, { recursive: true, mode: FOLDER_MODE });
  using top = await Folder.open(root);
  return await top.make(dirname(path), FOLDER_MODE);
}
