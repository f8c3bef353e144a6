/**
 * Folders that are open, and what is in them, named through the folder's descriptor (`/proc/self/fd/N/name`): so no
 * symbolic link on the way is followed, not even one that takes a folder's place meanwhile. This is openat(2) in the thread
 * pool. A file is looked at before it is opened, by a descriptor that opens nothing (`O_PATH`).
 */
import * as fs from "node:fs";
import { lstat, mkdir } from "node:fs/promises";
import { promisify } from "node:util";
import { closeFd, openFd, systemCode } from "./fd.ts";

/** open(2), on every processor; the runtime has no name for it. */
const O_PATH = 0o10000000;
const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;

const statFd = promisify(fs.fstat) as (fd: number, options: { bigint: true }) => Promise<fs.BigIntStats>;

/** Something that nobody is to follow, open or wait for has the name of a file or folder. */
export class ForeignEntryError extends Error {
  override readonly name = "ForeignEntryError";

  /** `state`: what is wrong with it, and how to mend that. */
  constructor(name: string, state: string) {
    super(`"${name}" ${state}`);
  }
}

export class Folder implements Disposable {
  /** Leads to this folder, whatever has its name by now. */
  readonly here: string;
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
    this.here = `/proc/self/fd/${fd}`;
  }

  /** The folder at `path`, where links are followed: it is whoever runs the program that names it. Throws system errors. */
  static async open(path: string): Promise<Folder> {
    return new Folder(await openFd(path, O_PATH | O_DIRECTORY));
  }

  /** The folder `path` below this one; empty for this one again. Throws `ForeignEntryError` for a link, and system errors. */
  async enter(path: string): Promise<Folder> {
    return await this.#descend(path, (folder, name) => folder.#child(name));
  }

  /** The same, made with `mode` where it is not there, as those on the way to it. */
  async make(path: string, mode: number): Promise<Folder> {
    return await this.#descend(path, async (folder, name) => {
      try {
        return await folder.#child(name);
      } catch (error) {
        if (systemCode(error) !== "ENOENT") throw error;
      }
      await mkdir(folder.at(name), mode).catch(unlessThere);
      return await folder.#child(name);
    });
  }

  /** The path of what has that name in this folder, for a call that does not follow a link there; no `/` in the name. */
  at(name: string): string {
    return `${this.here}/${name}`;
  }

  /** Has a network file system ask its server what is in it, which opening it does. */
  async refresh(): Promise<void> {
    await openFd(this.here, fs.constants.O_RDONLY | O_DIRECTORY).then(closeFd, () => {});
  }

  async stat(): Promise<fs.BigIntStats> {
    return await statFd(this.#fd, { bigint: true });
  }

  /**
   * A descriptor of the regular file of that name; what it is, from before it was opened. `undefined` for a folder. Throws
   * `ForeignEntryError` for a link, pipe, socket or device, and system errors.
   */
  async openFile(name: string, access: number = fs.constants.O_RDONLY): Promise<OpenFile | undefined> {
    const fd = await openFd(this.at(name), O_PATH | O_NOFOLLOW);
    try {
      const stats = await statFd(fd, { bigint: true });
      if (stats.isDirectory()) return undefined;
      if (!stats.isFile()) throw new ForeignEntryError(name, foreignState(stats));
      return { fd: await openFd(`/proc/self/fd/${fd}`, access | O_NONBLOCK), stats };
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Waits for nothing: the folder was not opened to be read. */
  [Symbol.dispose](): void {
    fs.closeSync(this.#fd);
  }

  async #descend(path: string, step: (folder: Folder, name: string) => Promise<Folder>): Promise<Folder> {
    const [first = "", ...names] = path.split("/");
    let folder = await step(this, first || ".");
    for (const name of names) {
      using above = folder;
      folder = await step(above, name);
    }
    return folder;
  }

  async #child(name: string): Promise<Folder> {
    try {
      return new Folder(await openFd(this.at(name), O_PATH | O_DIRECTORY | O_NOFOLLOW));
    } catch (error) {
      if (systemCode(error) !== "ENOTDIR") throw error;
      const stats = await lstat(this.at(name)).catch(() => undefined);
      if (stats?.isSymbolicLink()) throw new ForeignEntryError(name, foreignState(stats));
      throw error;
    }
  }
}

interface OpenFile {
  fd: number;
  stats: fs.BigIntStats;
}

function foreignState(stats: fs.StatsBase<number | bigint>): string {
  return stats.isSymbolicLink()
    ? "is a link, which varve does not follow; replace it with its target, or remove it"
    : `is a ${kindOf(stats)}, which varve never creates; remove it`;
}

function kindOf(stats: fs.StatsBase<number | bigint>): string {
  if (stats.isFIFO()) return "named pipe";
  return stats.isSocket() ? "socket" : "device";
}

/** Another may have made it at the same time. */
function unlessThere(error: unknown): void {
  if (systemCode(error) !== "EEXIST") throw error;
}
