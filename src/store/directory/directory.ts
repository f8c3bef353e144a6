/**
 * A store in a directory: keys are paths below it. Only ENOENT, and a path that leads through a file or ends at a
 * folder, is "missing"; any other failure is a `StoreError`. Below the root no link is followed, and nothing is opened but
 * folders and regular files (`os/folder.ts`); whoever may write there can at most have an object be refused.
 */
import { lstat, readdir, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { MissingError, StoreError } from "../../errors.ts";
import { closeFd, readSome } from "../../os/fd.ts";
import type { Folder } from "../../os/folder.ts";
import { describeFileError } from "../../os/file_error.ts";
import { directoryError, errnoOf, isAbsent, isRefused, objectError } from "./errors.ts";
import { DirectoryRoot } from "./root.ts";
import { directoryFolders, infoOf, walkDirectory, type WalkOptions } from "./walk.ts";
import { DurableWriter, folderOf, TEMPORARY_FOLDER } from "./durable_writer.ts";
import { assertPrefix, assertRange, checkKey } from "../key.ts";
import { lookTwice } from "./look_twice.ts";
import { roomFor } from "../room.ts";
import type {
  DeleteFailure,
  GetOptions,
  ListOptions,
  ObjectInfo,
  PutOptions,
  RequestOptions,
  Store,
} from "../store.ts";

/** Files that are deleted at the same time. */
const DELETE_WINDOW = 32;
/** Four times the largest chunk: no object is as large, and a file that is would take the host's memory. */
const OBJECT_BYTES_MAX = 128 * 1024 * 1024;
/** Links that are told of; with more than these it is clear. */
const LINKS_MAX = 8;

export class DirectoryStore implements Store {
  readonly url: string;
  readonly #root: DirectoryRoot;
  readonly #writer: DurableWriter;
  readonly #onWarning: (line: string) => void;
  readonly #links = new Set<string>();

  /** `path` is absolute; the first `put` makes the directory where there is none. */
  constructor(
    path: string,
    { onWarning = () => {} }: { onWarning?: ((line: string) => void) | undefined } = {},
  ) {
    this.url = path;
    this.#root = new DirectoryRoot(path);
    this.#writer = new DurableWriter(this.#root);
    this.#onWarning = onWarning;
  }

  get caveat(): string | undefined {
    if (this.#writer.foldersAreDurable) return undefined;
    return `the file system of "${this.url}" does not sync directory entries by itself: a power failure may lose ` +
      `the newest restore points; file contents are synced`;
  }

  async get(key: string, { range, into, signal }: GetOptions = {}): Promise<Uint8Array> {
    assertRange(range);
    const path = this.#pathOf(key);
    const bytes = await this.#attempt(
      { action: "read", path, signal, key },
      () => this.#look(key, (folder, name) => readFile(folder, name, { range, into, signal })),
    );
    if (bytes !== undefined) return bytes;
    await this.#attempt({ action: "read", path, signal, key }, () => this.#assertNotNamed(key));
    throw new MissingError(key, `Cannot read "${path}": no such object`);
  }

  async put(key: string, body: Uint8Array, { signal, ifAbsent }: PutOptions = {}): Promise<void> {
    const path = this.#pathOf(key);
    await this.#attempt({ action: "write", path, signal }, async () => {
      try {
        await this.#writer.write(key, body, { signal, ifAbsent });
      } catch (error) {
        if (errnoOf(error) !== "EIO") throw error;
        await this.#writer.write(key, body, { signal, ifAbsent }); // another file, perhaps on better sectors
      }
    });
  }

  async head(key: string, { signal }: RequestOptions = {}): Promise<ObjectInfo | undefined> {
    const path = this.#pathOf(key);
    return await this.#attempt(
      { action: "look up", path, signal, key },
      () => this.#look(key, (folder) => infoOf(folder, key)),
    );
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    yield* this.#walk(prefix, options, walkDirectory);
  }

  async *folders(prefix: string, options: RequestOptions = {}): AsyncGenerator<string> {
    yield* this.#walk(prefix, options, directoryFolders);
  }

  async delete(keys: readonly string[], { signal }: RequestOptions = {}): Promise<DeleteFailure[]> {
    for (const key of keys) this.#pathOf(key);
    return await this.#attempt({ action: "delete in", path: this.url, signal }, async () => {
      await this.#root.check(); // else what went away with it would look as if it was deleted
      const failures: (DeleteFailure | undefined)[] = [];
      for (let at = 0; at < keys.length; at += DELETE_WINDOW) {
        signal?.throwIfAborted();
        const window = keys.slice(at, at + DELETE_WINDOW);
        failures.push(...await Promise.all(window.map((key) => this.#deleteFile(key))));
      }
      await this.#writer.settleDeletions(keys.filter((_, index) => failures[index] === undefined));
      return failures.filter((failure) => failure !== undefined);
    });
  }

  async close(): Promise<void> {}

  #pathOf(key: string): string {
    checkKey(key);
    if (key !== TEMPORARY_FOLDER && !key.startsWith(`${TEMPORARY_FOLDER}/`)) return join(this.url, key);
    throw new StoreError(`Cannot use key "${key}": "${TEMPORARY_FOLDER}" is reserved for unfinished writes`, {
      retryable: false,
    });
  }

  async *#walk<T>(prefix: string, options: ListOptions, walk: Walk<T>): AsyncGenerator<T> {
    assertPrefix(prefix);
    try {
      await this.#root.check();
      yield* walk(this.#root, { prefix, ...options, onLink: (path) => this.#tellLink(path) });
      await this.#root.check(); // else a directory that went away would look as if it held nothing more
    } catch (error) {
      options.signal?.throwIfAborted();
      throw directoryError("list", `${this.url}/${prefix}`, error);
    }
  }

  /** What was a folder behind a link, moved elsewhere by somebody, must not look as if it had never been. */
  #tellLink(path: string): void {
    if (this.#links.has(path) || this.#links.size >= LINKS_MAX) return;
    this.#links.add(path);
    this.#onWarning(
      `"${join(this.url, path)}" is a link, which varve does not follow; it is skipped`,
    );
  }

  /** What is found in the key's folder, by two looks. */
  async #look<T>(key: string, look: (folder: Folder, name: string) => Promise<T>): Promise<T | undefined> {
    return await lookTwice(async (again) => {
      using folder = await this.#root.folder(folderOf(key), { again });
      return await look(folder, basename(key));
    });
  }

  /** A file that cannot be found, though its folder names it, is not missing: the file system does not agree with itself. */
  async #assertNotNamed(key: string): Promise<void> {
    const entries = await this.#look(key, (folder) => readdir(folder.here, { withFileTypes: true }));
    if (entries?.some((entry) => entry.name === basename(key) && entry.isFile())) {
      throw new StoreError(
        `Cannot read "${join(this.url, key)}": its directory lists it, but it cannot be found`,
        {
          retryable: true,
        },
      );
    }
  }

  async #deleteFile(key: string): Promise<DeleteFailure | undefined> {
    try {
      using folder = await this.#root.folder(folderOf(key));
      await unlink(folder.at(basename(key))).catch((error) => unlessNothing(error, folder.at(basename(key))));
    } catch (error) {
      if (isAbsent(error)) return;
      if (error instanceof StoreError) throw error;
      return { key, refused: isRefused(error), reason: describeFileError(error) };
    }
  }

  /** Runs one action, looks at the root once more where it found nothing, and turns what it throws into the store's errors. */
  async #attempt<T>(what: Attempt, run: () => Promise<T>): Promise<T> {
    what.signal?.throwIfAborted();
    try {
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

type Walk<T> = (root: DirectoryRoot, options: WalkOptions) => AsyncGenerator<T>;
type Attempt = { action: string; path: string; signal: AbortSignal | undefined; key?: string };

/** The object's bytes, or `undefined` where a folder has its name. */
async function readFile(
  folder: Folder,
  name: string,
  { range, into, signal }: GetOptions,
): Promise<Uint8Array | undefined> {
  const file = await folder.openFile(name);
  if (file === undefined) return undefined;
  try {
    const sizeBytes = Number(file.stats.size);
    if (range === undefined && sizeBytes > OBJECT_BYTES_MAX) {
      throw new Error(`its ${sizeBytes} bytes are more than any object has`);
    }
    const offset = Math.min(range?.offset ?? 0, sizeBytes);
    const bytes = roomFor(Math.min(range?.length ?? sizeBytes, sizeBytes - offset), into);
    await readWhole(file.fd, bytes, { offset, signal });
    return bytes;
  } finally {
    await closeFd(file.fd);
  }
}

async function readWhole(
  fd: number,
  into: Uint8Array,
  { offset, signal }: { offset: number; signal: AbortSignal | undefined },
): Promise<void> {
  for (let at = 0; at < into.length;) {
    signal?.throwIfAborted();
    const count = await readSome(fd, into.subarray(at), offset + at);
    // A look again tells whether it is shorter, or was only read so.
    if (count === 0) throw Object.assign(new Error("it ended before its size"), { code: "EIO" });
    at += count;
  }
}

/** A read-only file system says so before it looks whether there is anything to delete. */
async function unlessNothing(error: unknown, path: string): Promise<void> {
  if (!await lstat(path).then(() => false, isAbsent)) throw error;
}
