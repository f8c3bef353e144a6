/**
 * A store in a directory: keys are paths below it. Only ENOENT, and a path that leads through a file or ends at a
 * folder, is "missing"; any other failure is a `StoreError`.
 */
import { constants } from "node:fs";
import { type FileHandle, open, readdir, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { MissingError, StoreError } from "../errors.ts";
import {
  describeFileError,
  directoryError,
  errnoOf,
  isAbsent,
  isRefused,
  objectError,
} from "./directory_errors.ts";
import { DirectoryRoot } from "./directory_root.ts";
import { directoryFolders, walkDirectory } from "./directory_walk.ts";
import { DurableWriter, TEMPORARY_FOLDER } from "./durable_writer.ts";
import { checkKey, checkPrefix, checkRange } from "./key.ts";
import { lookTwice } from "./look_twice.ts";
import { roomFor } from "./room.ts";
import type { DeleteFailure, GetOptions, ListOptions, ObjectInfo, RequestOptions, Store } from "./store.ts";

/** Files that are deleted at the same time. */
const DELETE_WINDOW = 32;
/** Four times the largest chunk: no object is as large, and a file that is would take the host's memory. */
const OBJECT_BYTES_MAX = 128 * 1024 * 1024;
/** A named pipe in the place of an object must not be waited for. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;

export class DirectoryStore implements Store {
  readonly url: string;
  readonly #root: DirectoryRoot;
  readonly #writer: DurableWriter;

  /** `path` is absolute; the first `put` makes the directory where there is none. */
  constructor(path: string) {
    this.url = path;
    this.#root = new DirectoryRoot(path);
    this.#writer = new DurableWriter(path);
  }

  get caveat(): string | undefined {
    if (this.#writer.foldersAreDurable) return undefined;
    return `the file system of "${this.url}" cannot make the entries of folders durable by itself: after a power cut the ` +
      `newest backups may be gone; what files hold is synced all the same`;
  }

  async get(key: string, { range, into, signal }: GetOptions = {}): Promise<Uint8Array> {
    checkRange(range);
    const path = this.#pathOf(key);
    const bytes = await this.#attempt(
      { action: "read", path, signal, key },
      () => lookTwice(path, () => readFile(path, { range, into, signal })),
    );
    if (bytes !== undefined) return bytes;
    await this.#attempt({ action: "read", path, signal, key }, () => refuseNamed(path));
    throw new MissingError(key, `Cannot read "${path}": no such object`);
  }

  async put(key: string, body: Uint8Array, { signal }: RequestOptions = {}): Promise<void> {
    const path = this.#pathOf(key);
    await this.#attempt({ action: "write", path, signal }, async () => {
      try {
        await this.#writer.write(path, body, signal);
      } catch (error) {
        if (errnoOf(error) !== "EIO") throw error;
        await this.#writer.write(path, body, signal); // another file, perhaps on better sectors
      }
    });
  }

  async head(key: string, { signal }: RequestOptions = {}): Promise<ObjectInfo | undefined> {
    const path = this.#pathOf(key);
    const found = await this.#attempt(
      { action: "look up", path, signal, key },
      () => lookTwice(path, () => stat(path)),
    );
    if (found === undefined || !found.isFile()) return undefined;
    return { key, sizeBytes: found.size, modifiedMs: found.mtimeMs };
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    yield* this.#walk(prefix, options, walkDirectory);
  }

  async *folders(prefix: string, options: RequestOptions = {}): AsyncGenerator<string> {
    yield* this.#walk(prefix, options, directoryFolders);
  }

  async delete(keys: readonly string[], { signal }: RequestOptions = {}): Promise<DeleteFailure[]> {
    const paths = keys.map((key) => this.#pathOf(key));
    return await this.#attempt({ action: "delete in", path: this.url, signal }, async () => {
      const failures: (DeleteFailure | undefined)[] = [];
      for (let at = 0; at < keys.length; at += DELETE_WINDOW) {
        signal?.throwIfAborted();
        const window = keys.slice(at, at + DELETE_WINDOW);
        failures.push(...await Promise.all(window.map((key) => deleteFile(this.#pathOf(key), key))));
      }
      await this.#writer.settleDeletions(paths.filter((_, index) => failures[index] === undefined));
      return failures.filter((failure) => failure !== undefined);
    });
  }

  async close(): Promise<void> {}

  #pathOf(key: string): string {
    checkKey(key);
    if (key !== TEMPORARY_FOLDER && !key.startsWith(`${TEMPORARY_FOLDER}/`)) return join(this.url, key);
    throw new StoreError(`Cannot use key "${key}": "${TEMPORARY_FOLDER}" is for unfinished writes`, {
      retryable: false,
    });
  }

  async *#walk<T>(prefix: string, options: ListOptions, walk: Walk<T>): AsyncGenerator<T> {
    checkPrefix(prefix);
    try {
      await this.#root.check();
      yield* walk(this.url, { prefix, ...options });
      await this.#root.check(); // else a directory that went away would look as if it held nothing more
    } catch (error) {
      options.signal?.throwIfAborted();
      throw directoryError("list", `${this.url}/${prefix}`, error);
    }
  }

  /** Runs one action, between two looks at the root, and turns what it throws into the store's errors. */
  async #attempt<T>(what: Attempt, run: () => Promise<T>): Promise<T> {
    what.signal?.throwIfAborted();
    try {
      await this.#root.check();
      const result = await run();
      // What is not there must not be missing because the whole directory went away under it.
      if (result === undefined) await this.#root.check();
      return result;
    } catch (error) {
      what.signal?.throwIfAborted();
      await this.#root.check(); // that the whole directory went away says more than what did not work then
      const failed = directoryError(what.action, what.path, error);
      throw what.key === undefined ? failed : objectError(what.key, failed);
    }
  }
}

type Walk<T> = (root: string, options: { prefix: string } & ListOptions) => AsyncGenerator<T>;
type Attempt = { action: string; path: string; signal: AbortSignal | undefined; key?: string };

/** A file that cannot be found, though its folder names it, is not missing: the file system does not agree with itself. */
async function refuseNamed(path: string): Promise<void> {
  const entries = await readdir(dirname(path), { withFileTypes: true }).catch(unlessAbsent);
  if (entries?.some((entry) => entry.name === basename(path) && entry.isFile())) {
    throw new StoreError(`Cannot read "${path}": its folder names it, but it cannot be found`, {
      retryable: true,
    });
  }
}

/** The object's bytes, or `undefined` where something else has its name. */
async function readFile(path: string, { range, into, signal }: GetOptions): Promise<Uint8Array | undefined> {
  await using file = await open(path, READ_FLAGS);
  const stats = await file.stat();
  if (!stats.isFile()) return undefined;
  if (range === undefined && stats.size > OBJECT_BYTES_MAX) {
    throw new Error(`it has ${stats.size} bytes, and no object is as large`);
  }
  const offset = Math.min(range?.offset ?? 0, stats.size);
  const bytes = roomFor(Math.min(range?.length ?? stats.size, stats.size - offset), into);
  await readFully(file, bytes, { offset, signal });
  return bytes;
}

async function readFully(
  file: FileHandle,
  into: Uint8Array,
  { offset, signal }: { offset: number; signal: AbortSignal | undefined },
): Promise<void> {
  for (let at = 0; at < into.length;) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(into, at, into.length - at, offset + at);
    // A look again tells whether it is shorter, or was only read so.
    if (bytesRead === 0) throw Object.assign(new Error("it ends before its size"), { code: "EIO" });
    at += bytesRead;
  }
}

async function deleteFile(path: string, key: string): Promise<DeleteFailure | undefined> {
  try {
    await unlink(path);
  } catch (error) {
    // A read-only file system says so before it looks whether there is anything to delete.
    if (isAbsent(error) || await stat(path).then(() => false, isAbsent)) return;
    return { key, refused: isRefused(error), reason: describeFileError(error) };
  }
}

function unlessAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}
