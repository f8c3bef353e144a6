/**
 * The files that a host keeps for itself, its cache and its state: below their root no link is followed, only folders of this
 * user are entered, and only regular files of this user are read. A file appears whole, by renaming.
 */
import * as fs from "node:fs";
import { lstat, lutimes, mkdir, readdir, rename, rm, rmdir, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { promisify } from "node:util";
import { closeFd, openFd, readFully, syncFd, systemCode, writeFully } from "./fd.ts";
import { Folder, ForeignEntryError } from "./folder.ts";
import type { OwnPath } from "./own_path.ts";
import { strangeness } from "./own_root.ts";

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY } = fs.constants;

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

  /** What was written outlives a power cut. */
  async sync(): Promise<void> {
    await syncFd(this.#fd);
  }

  async close(): Promise<void> {
    await closeFd(this.#fd);
  }
}

/**
 * To be read; `undefined` where it is not there. Throws `ForeignEntryError` for what is nothing of this user's, and system
 * errors.
 */
export async function openOwn(place: OwnPath): Promise<OwnFile | undefined> {
  try {
    return await openAs(place, O_RDONLY);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** To be read and written to in place, made empty where it is not there; `undefined` where that cannot be. */
export async function openOrMakeOwn(place: OwnPath): Promise<OwnFile | undefined> {
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

/** All that the file holds, or its first `maxBytes`; `undefined` where it is not there. Throws as `openOwn` does. */
export async function readOwn(place: OwnPath, maxBytes = Infinity): Promise<Uint8Array | undefined> {
  const file = await openOwn(place);
  if (file === undefined) return undefined;
  try {
    const bytes = new Uint8Array(Math.min(await file.sizeBytes(), maxBytes));
    return bytes.subarray(0, await file.read(bytes, 0));
  } finally {
    await file.close();
  }
}

/** Has `write` fill a new file, then gives it its name. What goes wrong is thrown, and leaves nothing. */
export async function replaceOwn(place: OwnPath, write: (file: OwnFile) => Promise<void>): Promise<void> {
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
  place: OwnPath,
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
export async function touchOwn(place: OwnPath): Promise<void> {
  const now = new Date();
  await inFolder(place, (path) => lutimes(path, now, now)).catch(() => {});
}

/** Removes a file. That it is not there is no error. */
export async function removeOwn(place: OwnPath): Promise<void> {
  await inFolder(place, unlink);
}

/** Removes a folder that is empty. Throws system errors where it is not. */
export async function removeOwnEmpty(place: OwnPath): Promise<void> {
  await inFolder(place, rmdir);
}

/** Removes a folder with all that is in it. That it is not there is no error. */
export async function removeOwnFolder(place: OwnPath): Promise<void> {
  await inFolder(place, (path) => rm(path, { recursive: true, force: true }));
}

async function inFolder({ root, path }: OwnPath, work: (path: string) => Promise<void>): Promise<void> {
  try {
    using folder = await openFolder({ root, path: dirname(path) });
    await work(folder.at(basename(path)));
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}

async function openAs({ root, path }: OwnPath, access: number): Promise<OwnFile> {
  using folder = await openFolder({ root, path: dirname(path) });
  const name = basename(path);
  const file = await folder.openFile(name, access);
  if (file === undefined) throw new ForeignEntryError(name, "is a folder, where varve has a file; remove it");
  const { uid, nlink } = file.stats;
  if (Number(uid) === process.geteuid?.() && nlink === 1n) return new OwnFile(file.fd);
  await closeFd(file.fd);
  throw new ForeignEntryError(
    name,
    nlink === 1n
      ? `is not used: it belongs to another user (uid ${uid}); remove it`
      : "is not used: it has a second name; remove it",
  );
}

async function openFolder({ root, path }: OwnPath): Promise<Folder> {
  return await descend({ root, path }, (folder, name) => folder.enter(name));
}

async function makeFolderOf({ root, path }: OwnPath): Promise<Folder> {
  await mkdir(root, { recursive: true, mode: FOLDER_MODE });
  return await descend({ root, path: dirname(path) }, (folder, name) => folder.make(name, FOLDER_MODE));
}

/** Each folder on the way has to be this user's, and no other's to write to. */
async function descend(
  { root, path }: OwnPath,
  step: (folder: Folder, name: string) => Promise<Folder>,
): Promise<Folder> {
  let folder = await Folder.open(root);
  for (const name of path.split("/").filter((name) => name !== "" && name !== ".")) {
    using above = folder;
    folder = await step(above, name);
    const state = strangeness(await folder.stat());
    if (state === undefined) continue;
    folder[Symbol.dispose]();
    throw new ForeignEntryError(name, `is not used: ${state.why}; ${state.remedies.join(" or ")}`);
  }
  return folder;
}
